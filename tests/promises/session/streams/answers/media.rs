//! Answers of OpenAI's images, transcriptions and speech.

use serde_json::{Value, json};

use super::super::{data, named};
use super::Answer;

pub fn answers() -> Vec<Answer> {
    vec![image(), transcription(), speech()]
}

fn image() -> Answer {
    let event = |kind: &str, more: Value| {
        let mut event = json!({ "type": kind, "b64_json": "iVBORw0KGgoAAAANSUhEUg", "created_at": 1_620_000_000, "size": "1024x1024" });
        for (name, value) in more.as_object().into_iter().flatten() {
            event[name] = value.clone();
        }
        named(kind, event)
    };
    let usage = json!({ "total_tokens": 100, "input_tokens": 50, "output_tokens": 49, "input_tokens_details": { "text_tokens": 10 } });
    let events = [
        event("image_generation.partial_image", json!({ "partial_image_index": 0 })),
        event("image_generation.partial_image", json!({ "partial_image_index": 1 })),
        event("image_generation.completed", json!({ "usage": usage })),
    ];
    Answer::new("image", "openai_media", "/v1/images/generations")
        .of(events, 1)
        .counts(50, 49)
        .types_are_in_data()
}

fn transcription() -> Answer {
    let delta = |text: &str| data(json!({ "type": "transcript.text.delta", "delta": text, "logprobs": [] }));
    let usage = json!({ "type": "tokens", "input_tokens": 14, "input_token_details": { "audio_tokens": 14 }, "output_tokens": 45 });
    let end = data(json!({ "type": "transcript.text.done", "text": "I see skies of blue", "usage": usage }));
    Answer::new("transcription", "openai_media", "/v1/audio/transcriptions")
        .of([delta("I see"), delta(" skies"), end], 1)
        .counts(14, 45)
}

fn speech() -> Answer {
    let delta = |audio: &str| data(json!({ "type": "speech.audio.delta", "audio": audio }));
    let usage = json!({ "input_tokens": 14, "output_tokens": 101, "total_tokens": 115 });
    let end = data(json!({ "type": "speech.audio.done", "usage": usage }));
    Answer::new("speech", "openai_media", "/v1/audio/speech")
        .of([delta("UklGRv"), delta("////9X"), end], 1)
        .counts(14, 101)
}

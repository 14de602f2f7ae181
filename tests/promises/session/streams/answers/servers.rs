//! Answers of servers with their own APIs: Text Generation Inference, llama.cpp, Ollama; and of one in no known dialect.

use serde_json::{Value, json};

use super::super::data;
use super::super::error_form::ErrorForm;
use super::super::row::Head;
use super::Answer;

pub fn answers() -> Vec<Answer> {
    vec![tgi(), llama_cpp(), ollama_chat(), ollama_generate(), ollama_thinks(), plain(), lines()]
}

fn tgi() -> Answer {
    let token = |index: u64, text: &str, generated: Option<&str>, details: Value| {
        let token =
            json!({ "id": 10 + index, "text": text, "logprob": -1.2, "special": generated.is_some() });
        data(json!({ "index": index, "token": token, "generated_text": generated, "details": details }))
    };
    let details =
        json!({ "finish_reason": "eos_token", "generated_tokens": 3, "seed": null, "input_length": 4 });
    let events = [
        token(1, " Hello", None, Value::Null),
        token(2, " world", None, Value::Null),
        token(3, "</s>", Some(" Hello world"), details),
    ];
    Answer::new("tgi", "tgi", "/generate_stream").of(events, 1).counts(4, 3)
}

fn llama_cpp() -> Answer {
    let token = |text: &str| {
        data(json!({ "index": 0, "content": text, "tokens": [9906], "stop": false, "id_slot": -1 }))
    };
    let end = data(
        json!({ "index": 0, "content": "", "tokens": [], "id_slot": 0, "stop": true, "model": "m.gguf",
        "tokens_predicted": 3, "tokens_evaluated": 5, "generation_settings": { "seed": 42, "stop": ["\n"] }, "prompt": "<s> Hi",
        "has_new_line": false, "truncated": false, "stop_type": "eos", "stopping_word": "", "tokens_cached": 7,
        "timings": { "prompt_n": 5 } }),
    );
    Answer::new("llama.cpp", "llama_cpp", "/completion")
        .of([token(""), token("Hello"), token(" world"), end], 1)
        .token(1)
        .counts(5, 3)
}

fn of_ollama(name: &'static str, path: &'static str, chunks: Vec<Value>, last: Value) -> Answer {
    let line = |members: Value, done: bool| {
        let mut line = json!({ "model": "llama3.2", "created_at": "2023-08-04T08:52:19.385406455-07:00" });
        for (name, value) in members.as_object().into_iter().flatten() {
            line[name] = value.clone();
        }
        line["done"] = done.into();
        if done {
            let counts =
                [("prompt_eval_count", 26), ("eval_count", 298), ("total_duration", 4_883_583_458_u64)];
            for (name, count) in counts {
                line[name] = count.into();
            }
        }
        format!("{line}\n")
    };
    let chunks = chunks.into_iter().map(|chunk| line(chunk, false)).chain([line(last, true)]);
    let answer = Answer::new(name, "ollama", path).of(chunks.collect::<Vec<_>>(), 1);
    Answer { head: Head::lines(), ..answer.counts(26, 298).raises(ErrorForm::Line) }
}

fn ollama_chat() -> Answer {
    let message = |text: &str| json!({ "message": { "role": "assistant", "content": text } });
    of_ollama("ollama chat", "/api/chat", vec![message(""), message("Hello"), message("!")], message(""))
        .token(1)
}

fn ollama_generate() -> Answer {
    let last = json!({ "response": "", "done_reason": "stop", "context": [1, 2, 3] });
    let chunks = vec![json!({ "response": "Hello" }), json!({ "response": "!" })];
    of_ollama("ollama generate", "/api/generate", chunks, last)
}

fn ollama_thinks() -> Answer {
    let message = |message: Value| json!({ "message": message });
    let call = json!([{ "function": { "name": "search", "arguments": { "done": true } } }]);
    let chunks = vec![
        message(json!({ "role": "assistant", "content": "", "thinking": "Hmm" })),
        message(json!({ "role": "assistant", "content": "", "tool_calls": call })),
    ];
    of_ollama("ollama thinks", "/api/chat", chunks, message(json!({ "role": "assistant", "content": "" })))
}

/// The clients are not known, so they get both an error event and a broken connection.
fn plain() -> Answer {
    let word = |word: &str| data(json!({ "word": word }));
    let events = [word("Hello"), word("beautiful"), word("world")];
    let answer = Answer::new("a stream in no dialect", "generic", "/chat");
    answer.of(events, 1).may_end_anywhere().and_breaks()
}

fn lines() -> Answer {
    let word = |word: &str| format!("{}\n", json!({ "word": word }));
    let answer = Answer::new("lines in no dialect", "generic", "/chat").raises(ErrorForm::Line);
    let answer = answer.of([word("Hello"), word("beautiful"), word("world")], 1);
    Answer { head: Head::lines(), ..answer.may_end_anywhere().and_breaks() }
}

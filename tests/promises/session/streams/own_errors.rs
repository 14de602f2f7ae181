//! Errors that a backend reports itself: they are relayed, set the outcome, and do not count as the first token.

use sidestream::session::Close;

use super::answers::{Answer, answers};
use super::error_form::ErrorForm::Superset;
use super::row::{End, Head, Request, Row};
use super::{WORD, data, named};

/// The errors of each kind of answer.
const ERRORS: [(&str, &[&str]); 11] = [
    (
        "chat",
        &[
            "data: {\"error\":{\"message\":\"CUDA out of memory\",\"type\":\"server_error\",\"param\":null,\"code\":500}}\n\n",
            "data: {\"object\":\"error\",\"message\":\"m\",\"error\":{\"message\":\"m\"}}\n\n",
            "event: error\ndata: {\"error\":\"rate limited\"}\n\n",
        ],
    ),
    (
        "responses",
        &[
            "data: {\"error\":{\"message\":\"m\",\"code\":\"server_error\"}}\n\n",
            "data: {\"type\":\"error\",\"code\":\"server_error\",\"message\":\"m\",\"param\":null,\"sequence_number\":12}\n\n",
            "data: {\"sequence_number\":12,\"response\":{\"status\":\"failed\",\"error\":{\"code\":\"server_error\"}},\"type\":\"response.failed\"}\n\n",
            "event: error\ndata: {\"type\":\"error\",\"code\":null,\"message\":\"m\"}\n\n",
        ],
    ),
    (
        "anthropic",
        &[
            "data: {\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n",
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n",
            "data: {\"type\": \"error\", \"error\": {\"type\": \"api_error\", \"message\": \"m\"}}\n\n",
        ],
    ),
    (
        "gemini",
        &[
            "data: {\"error\":{\"code\":503,\"message\":\"The model is overloaded.\",\"status\":\"UNAVAILABLE\"}}\n\n",
            "data: {\"error\": {\"code\": 429, \"message\": \"m\", \"status\": \"RESOURCE_EXHAUSTED\", \"details\": []}}\r\n\r\n",
        ],
    ),
    (
        "cohere",
        &[
            "event: message-end\ndata: {\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"ERROR\",\"error\":\"m\"}}\n\n",
        ],
    ),
    (
        "tgi",
        &[
            "data:{\"error\":\"Request failed during generation: Server error\",\"error_type\":\"generation\"}\n\n",
            "data: {\"error\": \"Input validation error\", \"error_type\": \"validation\"}\n\n",
            "event: error\ndata: {\"error\":\"m\",\"error_type\":\"overloaded\"}\n\n",
        ],
    ),
    (
        "llama.cpp",
        &[
            "data: {\"error\":{\"code\":500,\"message\":\"context size exceeded\",\"type\":\"exceed_context_size_error\"}}\n\n",
            "data: {\"error\": {\"code\": 400, \"message\": \"m\", \"type\": \"invalid_request_error\"}}\n\n",
        ],
    ),
    (
        "ai_sdk_ui",
        &[
            "data: {\"error\":\"m\"}\n\n",
            "data: {\"type\":\"error\",\"errorText\":\"m\"}\n\n",
            "data: {\"errorText\":\"m\",\"type\":\"error\"}\n\n",
        ],
    ),
    (
        "ag_ui",
        &[
            "data: {\"error\":\"m\"}\n\n",
            "data: {\"type\":\"RUN_ERROR\",\"message\":\"m\",\"code\":\"c\"}\n\n",
            "data: {\"message\": \"m\", \"type\": \"RUN_ERROR\"}\n\n",
        ],
    ),
    (
        "assistants",
        &[
            "event: error\ndata: {\"code\":\"server_error\",\"message\":\"m\"}\n\n",
            "event: thread.run.failed\ndata: {\"id\":\"run_1\",\"object\":\"thread.run\",\"status\":\"failed\",\"last_error\":{\"code\":\"server_error\"}}\n\n",
        ],
    ),
    (
        "transcription",
        &[
            "data: {\"error\":{\"message\":\"m\"}}\n\n",
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"message\":\"m\"}}\n\n",
        ],
    ),
];

pub fn rows() -> Vec<Row> {
    let all = answers();
    let mut rows = Vec::new();
    for (name, errors) in ERRORS {
        let answer = all.iter().find(|answer| answer.name == name).expect("an answer of this name");
        for error in errors {
            rows.push(first(answer, error));
            rows.extend([End::Clean, End::Reset, End::Closed].map(|end| thirteenth(answer, error, end)));
        }
    }
    rows.extend(of_lines());
    rows.extend(of_none());
    rows
}

/// The error as the first event. It may not reveal the dialect, so that is not checked.
fn first(answer: &Answer, error: &str) -> Row {
    let row = Row::new(format!("{}: {error:?} as the first event", answer.name), answer.request.clone());
    row.speaks("").sends(error).reports_an_error()
}

/// The error as the 13th event, after repetitions of the last event of the beginning.
fn thirteenth(answer: &Answer, error: &str, end: End) -> Row {
    let again = answer.begun.last().map(String::as_str);
    let events = answer.begun.iter().map(String::as_str).chain(again.into_iter().cycle());
    let row = Row::new(
        format!("{}: {error:?} as the 13th event, and {end:?}", answer.name),
        answer.request.clone(),
    );
    let row = row.speaks(answer.dialect).sends(events.take(12).collect::<String>()).sends(error).ending(end);
    let row = row.token_at(0).counts(answer.usage_begun.0, answer.usage_begun.1).reports_an_error();
    // Not every client of these dialects raises an error on the event, so a broken connection stays broken.
    let stays_broken = matches!(answer.dialect, "gemini" | "cohere" | "ag_ui") && end != End::Clean;
    if stays_broken { Row { close: Close::Break, ..row } } else { row }
}

fn of_lines() -> Vec<Row> {
    let line = "{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"Hi\"},\"done\":false}\n";
    let error = "{\"error\":\"an error was encountered while running the model\"}\n";
    let row = |name: &str| {
        Row::new(format!("ollama: {name}"), Request::post("/api/chat", "{}")).head(Head::lines())
    };
    vec![
        row("an error as the first line").speaks("").sends(error).reports_an_error(),
        row("an error after words").speaks("ollama").sends(line).sends(error).token_at(0).reports_an_error(),
        row("an error after words, and a RST")
            .speaks("ollama")
            .sends(line)
            .sends(error)
            .resets()
            .token_at(0)
            .reports_an_error(),
    ]
}

/// In no known dialect an error may mean anything, so a failure after it still adds an error event.
fn of_none() -> Vec<Row> {
    let row = |name: &str| Row::new(format!("an error in no dialect: {name}"), Request::post("/ask", "{}"));
    vec![
        row("by its name").sends(WORD).sends(named("error", "no such tool")).token_at(0).reports_an_error(),
        row("by its name, with empty data")
            .sends(WORD)
            .sends("event: error\ndata:\n\n")
            .token_at(0)
            .reports_an_error(),
        row("by its member")
            .sends(WORD)
            .sends(data("{\"id\": 4, \"error\": \"m\"}"))
            .token_at(0)
            .reports_an_error(),
        row("first").sends(data("{\"error\":\"m\"}")).reports_an_error(),
        row("first by its name").sends(named("error", "{\"text\":\"m\"}")).reports_an_error(),
        row("and a RST")
            .sends(WORD)
            .sends(named("error", "m"))
            .token_at(0)
            .resets()
            .raises_and_breaks(Superset, "upstream_reset"),
        row("a member deep inside is none")
            .sends(WORD)
            .sends(data("{\"result\":{\"error\":\"m\"}}"))
            .token_at(0),
    ]
}

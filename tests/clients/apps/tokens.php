<?php
// A script that streams tokens, as PHP does behind nginx.

const WORDS = ['Streams ', 'are ', 'made ', 'of ', 'events.'];

function token(string $text): string
{
    return 'data: ' . json_encode(['token' => $text]) . "\n\n";
}

function send(string $text): void
{
    echo $text;
    flush();
}

header('Content-Type: text/event-stream');
// nginx holds back what a script says, unless it is told not to.
header('X-Accel-Buffering: no');
$case = basename($_SERVER['REQUEST_URI']);
foreach (WORDS as $number => $word) {
    if ($number === 2 && $case === 'raises') {
        throw new RuntimeException('the model is gone');
    }
    if ($number === 2 && $case === 'killed') {
        // Whoever reads this kills the worker, which has half an event on the wire.
        send(token((string) getmypid()) . substr(token($word), 0, 14));
        sleep(3600);
    }
    send(token($word));
}
send("data: [DONE]\n\n");

"""What /stream answers: server-sent events, paced as a language model sends words."""

import json

from settings import number, settings

HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",  # tells nginx to pass each event on at once
}


def pace(query):
    """How many events a query asks for, and the seconds between two of them."""
    events = number(query, "events", default=settings.events, least=0)
    gap = number(query, "gap_ms", default=round(settings.gap * 1000), least=0) / 1000
    return events, gap


def texts(events):
    """So many events, and a last one that says that there are no more."""
    for index in range(events):
        yield f"data: {json.dumps({'index': index})}\n\n"
    yield "data: [DONE]\n\n"

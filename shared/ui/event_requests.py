"""Request ids of socket events. An event that a handler chains continues the request of that handler."""

from collections import OrderedDict

from reflex_base.event.context import EventContext

from shared.core import request_ids

MAX_EVENTS = 10_000  # that are remembered; an event is asked for while it runs and when it chains another

_ids_by_event: OrderedDict[str, str] = OrderedDict()


def begin() -> str:
    """At the beginning of each event. A second call of the same event changes nothing. Returns the request id."""
    event_id, parent_id = _find_event()
    scope = request_ids.get_scope()
    if scope is not None and event_id and _ids_by_event.get(event_id) == scope.id:
        return scope.id
    request_id = request_ids.begin(_ids_by_event.get(parent_id, ""))
    if event_id:
        _ids_by_event[event_id] = request_id
    while len(_ids_by_event) > MAX_EVENTS:
        _ids_by_event.popitem(last=False)
    return request_id


def resume() -> str:
    """For the handler of an error, which Reflex calls outside of the event's task. Returns the request id."""
    event_id, _ = _find_event()
    return request_ids.begin(_ids_by_event.get(event_id, ""))


def _find_event() -> tuple[str, str]:
    """Ids of the event and of the one that chained it; "" where there is none, as for an app that runs no events."""
    try:
        context = EventContext.get()
    except LookupError:
        return "", ""
    return context.txid, context.parent_txid or ""

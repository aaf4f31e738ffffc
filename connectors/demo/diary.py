"""What the shop did, by event id: so that an event id in a membership change can be told as a sentence."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

REMEMBERED_MAX: Final = 200_000  # touchpoints; at 200/s the last quarter of an hour

PHRASES: Final = {
    "page_viewed": "opened a page",
    "screen_viewed": "opened a screen",
    "product_viewed": "looked at {category}",
    "cart_added": "put {category} in the cart",
    "checkout_started": "went to the checkout",
    "order_completed": "bought {category}",
    "identified": "gave their login",
    "profile_updated": "moved to {city}",
    "consent_given": "allowed marketing",
    "consent_withdrawn": "took back the consent to marketing",
    "contact_imported": "came in a CRM import",
    "email_opened": "opened an e-mail",
    "email_clicked": "clicked in an e-mail",
    "email_unsubscribed": "unsubscribed",
}
PLACES: Final = {"web": " on the web", "app": " in the app", "crm": "", "email": ""}


@dataclass(frozen=True, slots=True)
class Deed:
    """One touchpoint that was sent: what it means, when it happened and when it was sent (ms), and who."""

    phrase: str
    occurred_ms: int
    sent_ms: int
    identifier: str


class Diary:
    """The latest deeds by event id. A touchpoint that is sent again keeps its first entry."""

    def __init__(self) -> None:
        self.deeds: OrderedDict[str, Deed] = OrderedDict()

    def note(self, touchpoint: Mapping[str, Any], identifier: str, sent_ms: int) -> None:
        """Remember a good touchpoint. `identifier`: one of its identifiers in the truth's form."""
        event_id = touchpoint["event_id"]
        if event_id in self.deeds:
            return
        words = {
            "category": "something",
            "city": "another city",
            **touchpoint["properties"],
            **touchpoint["traits"],
        }
        phrase = PHRASES.get(touchpoint["type"], touchpoint["type"]).format_map(words)
        place = PLACES.get(touchpoint["source"], "")
        self.deeds[event_id] = Deed(phrase + place, touchpoint["occurred_at"], sent_ms, identifier)
        if len(self.deeds) > REMEMBERED_MAX:
            self.deeds.popitem(last=False)

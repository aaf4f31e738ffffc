"""What people do in the shop: each visit is a generator of drafts, one touchpoint at a time.

A draft holds canonical identifiers and an age; the simulator gives it an instant, an event id and a spelling.
No behaviour may link two people: only a family's tablet does, and the policy (`keep`) says who keeps that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from .people import CATEGORIES, CITIES, PRICES, Device, Person, choose_device, weighted

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000
AGE_DAYS_MAX: Final = 25  # below the history of 30 days, so that every window and every counter sees it

Identifier = tuple[str, str]
Visit = Iterator["Draft"]


@dataclass(slots=True)
class Draft:
    """A touchpoint before it has a time and a spelling.

    `identifiers` are those that become linked; `seen_only` are sent too, but the policy refuses their link,
    so they stay with another person. `age_ms`: how long before it is sent it happened. `mess`: share of
    identifiers that are not spelled canonically.
    """

    person: Person
    source: str
    type: str
    identifiers: list[Identifier]
    traits: dict[str, Any] = field(default_factory=dict)
    properties: dict[str, Any] = field(default_factory=dict)
    consent: dict[str, bool] = field(default_factory=dict)
    seen_only: tuple[Identifier, ...] = ()
    age_ms: int = 0
    mess: float = 0.0


def web_visit(rng: Random, person: Person) -> Visit:
    """Pages and products in a browser; perhaps a login or a registration, a cart, an order."""
    browser = choose_device(rng, person, app=False)
    late_ms = rng.randrange(1, 90) * MINUTE_MS if rng.random() < 0.03 else 0  # a beacon sent later
    yield _on(browser, person, "web", "page_viewed", {"path": rng.choice(("/", "/sale", "/new", "/stores"))})
    for _ in range(rng.randint(1, 4)):
        yield _on(browser, person, "web", "product_viewed", _product(rng, person), age_ms=late_ms)
        if rng.random() < 0.3:
            yield _on(browser, person, "web", "page_viewed", {"path": "/product"})
    if not browser.logged_in and rng.random() < (0.5 if person.has_account else 0.35):
        yield _sign_in(rng, browser, person, "web")
        if rng.random() < 0.5:
            yield _on(browser, person, "web", "product_viewed", _product(rng, person))
    yield from _basket(rng, browser, person, "web")
    if rng.random() < 0.04:
        browser.logged_in = False


def app_visit(rng: Random, person: Person) -> Visit:
    """Screens and products in an app; now and then all of it offline, sent later with its own times."""
    app = choose_device(rng, person, app=True)
    offline_ms = rng.randrange(5, 600) * MINUTE_MS if rng.random() < 0.08 else 0
    yield _on(app, person, "app", "screen_viewed", {"screen": "home"}, age_ms=offline_ms)
    for _ in range(rng.randint(1, 4)):
        yield _on(app, person, "app", "product_viewed", _product(rng, person), age_ms=offline_ms)
    if not app.logged_in and rng.random() < 0.5:
        yield _sign_in(rng, app, person, "app")
    yield from _basket(rng, app, person, "app")


def crm_import(rng: Random, person: Person) -> Visit:
    """One to three records of a person, as exports have them: partial, repeated, spelled in many ways."""
    known = [("email", one) for one in person.emails] + [("phone", one) for one in person.phones]
    known += [("cpf", person.cpf)] if person.cpf else []
    known += [("nis", person.nis)] if person.nis else []
    loyalty = rng.choices(("none", "silver", "gold"), (80, 14, 6))[0]
    anchor = known[0]  # most records have the first e-mail
    for _ in range(rng.randint(1, 3)):
        chosen = {anchor, *rng.sample(known, k=min(len(known), rng.randint(1, 3)))}
        if len(known) > 2 and rng.random() < 0.1:
            chosen = {rng.choice(known[1:])}
        identifiers = [one for one in known if one in chosen]
        if person.has_account and rng.random() < 0.3:
            identifiers.insert(0, ("user_id", person.user_id))
        if rng.random() < 0.1:
            identifiers.append(rng.choice(identifiers))  # the same value twice, in two spellings
        name = rng.choice((person.name, person.name.upper(), person.name.split()[0]))
        traits = {"name": name, "city": person.city}
        if loyalty != "none":
            traits["loyalty"] = loyalty
        consent = {"marketing": person.wants_marketing} if rng.random() < 0.6 else {}
        yield Draft(person, "crm", "contact_imported", identifiers, traits, {"list": "stores"}, consent,
                    age_ms=_age(rng), mess=0.7)  # fmt: skip
    person.in_crm = True
    if rng.random() < 0.25:
        order = _order(rng, person.favourite, "store")
        by = [one for one in known if one[0] != "phone"]
        yield Draft(person, "crm", "order_completed", [rng.choice(by)], {}, order, age_ms=_age(rng), mess=0.5)


def email_campaign(rng: Random, person: Person) -> Visit:
    """Opens and clicks of one address; a few people unsubscribe."""
    address: Identifier = ("email", rng.choice(person.emails))
    campaign = {"campaign": rng.choice(("spring", "new-in", "running-week"))}
    for _ in range(rng.randint(1, 3)):
        age_ms = rng.randrange(1, 9 * 24) * HOUR_MS if rng.random() < 0.2 else 0
        yield Draft(person, "email", "email_opened", [address], {}, campaign, age_ms=age_ms, mess=0.1)
        if rng.random() < 0.3:
            yield Draft(person, "email", "email_clicked", [address], {}, campaign)
    if rng.random() < 0.06:
        person.wants_marketing = False
        yield Draft(person, "email", "email_unsubscribed", [address], {}, campaign, {"marketing": False})


def account_visit(rng: Random, person: Person) -> Visit:
    """Somebody with an account changes their mind about e-mails, or moves to another city."""
    browser = choose_device(rng, person, app=False)
    if not browser.logged_in:
        yield _sign_in(rng, browser, person, "web")
    if rng.random() < 0.6:
        person.wants_marketing = not person.wants_marketing
        event_type = "consent_given" if person.wants_marketing else "consent_withdrawn"
        draft = _on(browser, person, "web", event_type, {"page": "/account/privacy"})
        draft.consent = {"marketing": person.wants_marketing}
        yield draft
    else:
        person.city = weighted(rng, CITIES[person.country])
        draft = _on(browser, person, "web", "profile_updated", {"page": "/account/address"})
        draft.traits = {"city": person.city}
        yield draft


def family_evening(rng: Random, owner: Person, guest: Person, clock: Callable[[], int]) -> Visit:
    """Two people with accounts on one tablet: the policy keeps the tablet with the login that it saw first.

    `clock` gives simulated ms: the guest must log in clearly later than the owner.
    """
    tablet: Identifier = ("device_id", f"t-{rng.getrandbits(64):016x}")
    mine: Identifier = ("user_id", owner.user_id)
    yield Draft(owner, "app", "identified", [mine, tablet], {"name": owner.name})
    begin_ms = clock()
    while True:
        yield Draft(owner, "app", "screen_viewed", [mine, tablet], {}, {"screen": "home"})
        if clock() >= begin_ms + 1_000:
            break
    yield Draft(owner, "app", "product_viewed", [tablet], {}, _product(rng, owner))
    theirs: Identifier = ("user_id", guest.user_id)
    yield Draft(guest, "app", "identified", [theirs], {"name": guest.name}, seen_only=(tablet,))
    for _ in range(rng.randint(1, 2)):
        yield Draft(guest, "app", "product_viewed", [theirs], {}, _product(rng, guest), seen_only=(tablet,))


def _on(
    device: Device, person: Person, source: str, event_type: str, properties: dict[str, Any], age_ms: int = 0
) -> Draft:
    """A draft with what the device shows by itself: its ids, and the user id while somebody is logged in."""
    return Draft(person, source, event_type, _shown(device, person), {}, properties, age_ms=age_ms)


def _shown(device: Device, person: Person) -> list[Identifier]:
    shown: list[Identifier] = [("user_id", person.user_id)] if device.logged_in else []
    if device.device_id:
        shown.append(("device_id", device.device_id))
    return [*shown, ("anonymous_id", device.anonymous_id)]


def _sign_in(rng: Random, device: Device, person: Person, source: str) -> Draft:
    """Login or registration: the one touchpoint that ties an account to a device. E-mail as it was typed."""
    device.logged_in = True
    identifiers = _shown(device, person)
    traits: dict[str, Any] = {}
    consent: dict[str, bool] = {}
    if not person.has_account:
        person.has_account = True
        identifiers.insert(1, ("email", person.emails[0]))
        traits = {"name": person.name, "city": person.city, "country": person.country}
        consent = {"marketing": person.wants_marketing}
    elif rng.random() < 0.5:
        identifiers.insert(1, ("email", rng.choice(person.emails)))
    return Draft(person, source, "identified", identifiers, traits, {"method": "password"}, consent, mess=0.4)


def _basket(rng: Random, device: Device, person: Person, source: str) -> Visit:
    """Most people leave; some fill the cart; about half of those buy, with an account or as a guest."""
    if rng.random() > 0.32:
        return
    item = _product(rng, person)
    yield _on(device, person, source, "cart_added", {**item, "quantity": rng.randint(1, 2)})
    if rng.random() > 0.5:
        return
    yield _on(device, person, source, "checkout_started", {"category": item["category"]})
    draft = _on(device, person, source, "order_completed", _order(rng, item["category"], source))
    draft.identifiers.append(("email", rng.choice(person.emails)))
    if rng.random() < 0.5:
        draft.identifiers.append(("phone", rng.choice(person.phones)))
    if person.cpf and rng.random() < 0.8:
        draft.identifiers.append(("cpf", person.cpf))  # a Brazilian invoice asks for it
    draft.mess = 0.4
    yield draft


def _product(rng: Random, person: Person) -> dict[str, Any]:
    category = person.favourite if rng.random() < 0.6 else weighted(rng, CATEGORIES)
    return {"category": category, "product_id": f"p-{rng.randrange(400)}", "price": PRICES[category]}


def _order(rng: Random, category: str, channel: str) -> dict[str, Any]:
    items = rng.randint(1, 3)
    total = round(items * PRICES[category], 2)
    return {"order_id": f"o-{rng.getrandbits(32):08x}", "category": category, "items": items, "total": total,
            "channel": channel}  # fmt: skip


def _age(rng: Random) -> int:
    return rng.randrange(MINUTE_MS, AGE_DAYS_MAX * DAY_MS)

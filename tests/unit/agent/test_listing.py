"""Which contexts a comparison lists."""

from __future__ import annotations

import pytest

from controller.agent.listing import SINGLE, Listing, beginnings, ours, sections
from controller.agent.server import Coverage
from controller.agent.verify import covered

NAMES = sorted(f"{family}-acct-{n:05}" for family in ("account", "inbound") for n in range(300))


@pytest.mark.parametrize("most", [1, 7, 250, 5_000])
def test_beginnings_part_the_names(most: int) -> None:
    found = beginnings(NAMES, most)
    assert found == sorted(set(found))
    counts = {one: sum(name.startswith(one) for name in NAMES) for one in found if one not in SINGLE}
    assert max(counts.values()) <= most
    assert sum(counts.values()) == len(NAMES)


def test_a_round_lists_everything_once() -> None:
    listing = Listing()
    listing.budget_s = 5
    listed: list[str] = []
    groups: list[str] = []
    comparison = 0
    while True:
        comparison += 1
        assert comparison < 100
        listing.begin(NAMES)
        for at in range(0, len(NAMES), listing.batch):
            part = NAMES[at : at + listing.batch]
            if listing.wants(part[-1]):
                listing.took(1)
                listing.listed(part[-1], len(part))
                listed += part
        after = "~"
        while found := listing.groups(after):
            listing.took(1)
            after = "~" + found[-1]
            listing.listed(after)
            groups += found
        coverage = listing.coverage()
        assert coverage is not None
        if not coverage.more:
            break
    assert comparison > 5
    assert listed == NAMES
    assert groups == beginnings(NAMES, 1_000)
    listing.begin(NAMES)
    assert listing.wants(NAMES[0])


def test_whose_context_it_is() -> None:
    assert all(map(ours, ("account-acme", "routes", "routes-acme", "trunks", "class-DE")))
    assert not any(map(ours, ("dp-user", "site-x", "accounts", "trunks-x", "from-edge")))
    assert sections(["[a]\n  [b](+)\n;[c]\nx=[d]\n"]) == {"a", "b"}


def test_what_was_listed_is_said() -> None:
    assert (
        covered(Coverage(1234, 20_000, 16), 600) == "1,234 of 20,000 contexts listed; the rest within 160 min"
    )
    assert (
        covered(Coverage(1234, 20_000, 16), 0)
        == "1,234 of 20,000 contexts listed; the rest in 16 more comparisons"
    )
    assert covered(Coverage(1234, 20_000, 0), 600) == "1,234 of 20,000 contexts listed, the rest before"

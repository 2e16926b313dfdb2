"""Letters between the phones of a family: what was packed is what is parsed, and nothing else is
taken for a letter."""

from __future__ import annotations

import contextlib
import struct

from hypothesis import given
from hypothesis import strategies as st

from hushbear_companion.errors import BadMessage
from hushbear_companion.letters import Family, News, Stage
from hushbear_companion.toy import MEMBERS_MAX, Member, Role

SENDERS = st.binary(min_size=8, max_size=8).filter(any)
SECONDS = st.integers(0, (1 << 32) - 1)
NAMES = st.text(st.characters(codec="ascii", categories=["L", "N"]), max_size=32)
MEMBERS = st.builds(Member, NAMES, st.sampled_from(Role), SECONDS)
KEYS = st.binary(min_size=32, max_size=32).filter(any)
FAMILIES = st.builds(
    Family,
    st.integers(1, (1 << 32) - 1),
    st.binary(min_size=32, max_size=32),
    st.integers(1, (1 << 32) - 1),
    KEYS,
    st.dictionaries(SENDERS, MEMBERS, max_size=5),
)


@given(FAMILIES)
def test_a_family_is_told_as_it_is(family: Family) -> None:
    assert Family.parse(family.pack()) == family
    assert "key=" not in repr(family)


@given(
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=8, max_size=8),
    st.sampled_from([stage for stage in Stage if Stage.ARRIVED <= stage <= Stage.REFUSED]),
)
def test_news_are_told_as_they_are(message_id: bytes, recipient: bytes, stage: Stage) -> None:
    news = News(message_id, recipient, stage)
    assert News.parse(news.pack()) == news


@given(st.binary(max_size=400))
def test_any_bytes_are_a_letter_within_bounds_or_refused(content: bytes) -> None:
    with contextlib.suppress(BadMessage):
        family = Family.parse(content)
        assert family.revision and family.epoch and any(family.key)
        assert len(family.members) <= MEMBERS_MAX
        assert all(any(sender) and len(sender) == 8 for sender in family.members)
    with contextlib.suppress(BadMessage):
        assert Stage.ARRIVED <= News.parse(content).stage <= Stage.REFUSED


@given(st.binary(max_size=32))
def test_a_name_from_outside_steers_no_terminal(name: bytes) -> None:
    row = b"somebody\2" + struct.pack(">I32s", 0, name)
    told = Family(1, bytes(32), 1, b"k" * 32, {}).pack() + row
    (member,) = Family.parse(told).members.values()
    assert member.name.isprintable() or not member.name


def test_long_names_and_large_families_are_cut_to_what_there_is_room_for() -> None:
    members = {
        n.to_bytes(8, "big"): Member("a" + "ä" * 40, Role.RELATIVE, n)
        for n in range(1, MEMBERS_MAX + 9)
    }
    parsed = Family.parse(Family(1, bytes(32), 1, b"k" * 32, members).pack())
    assert len(parsed.members) == MEMBERS_MAX
    assert {each.name for each in parsed.members.values()} == {"a" + "ä" * 15}

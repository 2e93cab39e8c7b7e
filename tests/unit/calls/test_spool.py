"""The spool's files while they are written."""

from __future__ import annotations

from pathlib import Path

from controller.calls.spool import Spool

LINES = [
    f'{{"event":"{event}","ts":{n},"call":"c"}}\n'.encode() for n, event in enumerate(("start", "end"), 1)
]


def test_a_line_finished_between_two_reads_is_one_line(tmp_path: Path) -> None:
    """A reader may see the first part of a line: a write that crosses a page is not seen at once."""
    path = tmp_path / "edge_1.jsonl"
    path.write_bytes(LINES[0] + LINES[1][:10])
    spool = Spool(tmp_path, "edge1", tmp_path / "spool.json")
    seen, ends = [], []
    for _, position, facts in spool.batches():
        ends.append(position)
        seen += [(fact.event, fact.position) for fact in facts]
        if len(seen) == 1:
            with path.open("ab") as file:
                file.write(LINES[1][10:])
    assert seen == [("start", 0), ("end", len(LINES[0]))]
    assert ends[-1] == path.stat().st_size


def test_the_channel_of_messages_is_no_call(tmp_path: Path) -> None:
    """Asterisk works off messages to scripts in a channel that never ends."""
    line = b'{"eventtype":"CHAN_START","eventtime":%d,"userfield":"","linkedid":"1.1","channame":"%s"}\n'
    (tmp_path / "media.jsonl").write_bytes(line % (1, b"Message/ast_msg_queue") + line % (2, b"PJSIP/edge-1"))
    spool = Spool(tmp_path, "media1", tmp_path / "spool.json")
    assert [fact.detail["channame"] for _, _, facts in spool.batches() for fact in facts] == ["PJSIP/edge-1"]

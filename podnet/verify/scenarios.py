"""What the verification tries, by number: the marker `scenario` of each test says which of it that test shows."""

SCENARIOS = {
    1: "exact set of objects, nothing missing, nothing extra",
    2: "all pairs of pods",
    3: "expected TTL",
    4: "the largest packet passes, one byte more is refused",
    5: "TCP and UDP, and a large transfer",
    6: "nodes and pods, outside and pods, masquerading",
    7: "counters rise on the expected devices only",
    8: "on the wire as the mode says, in no other way",
    9: "a second apply changes nothing",
    10: "a member is removed, the others are clean",
    11: "reboot",
    12: "a node's address or MAC changes",
    13: "a switch to another mode leaves nothing",
    14: "packets lost while hosts are changed",
    15: "deliberate breaks are caught",
}

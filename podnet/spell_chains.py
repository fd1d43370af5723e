"""Firewall chains in the words of iptables-restore(8) and nft(8): text only, nothing is run.

Where podnet has a chain of its own, one transaction replaces it whole: at no moment is a rule missing.
"""

from podnet import marks
from podnet.firewall import IPTABLES, LEGACY, NFT, ORPHAN, VARIANT, in_iptables, in_nft
from podnet.state import Chain, Opening

COMMANDS = {
    # -w: wait up to 5 seconds for whoever else is changing rules.
    **{tool: f"{tool}-restore -w 5 --noflush" for tool in (IPTABLES, LEGACY, VARIANT)},
    **dict.fromkeys((NFT, ORPHAN), "nft -f -"),
}
"""What reads the lines of a firewall chain, by what writes it."""

PRIORITIES = {"filter": ("filter - 1", -1), "nat": ("srcnat - 1", 99)}
"""When the kernel asks an nft chain of ours: just before iptables' chains would be asked. nft's words, and number."""


def add(item: Chain | Opening) -> list[str]:
    """Spell the lines that make `item` where nothing of its key is."""
    match item:
        case Opening():
            lines = [f'{in_nft(line)} comment "{item.comment}"' for line in item.rules]
            return [f"insert rule {_base(item)} {line}" for line in reversed(lines)]
        case Chain(by=by) if by == NFT:
            return _nft(item)
        case Chain():
            return _table(item.table, [*_rules(item), *_jump(item)])


def change(have: Chain | Opening, want: Chain | Opening) -> list[str]:
    """Spell the lines that turn `have` into `want`, which has the same key."""
    match have, want:
        case Chain(), Chain() if want.by != NFT:
            return _table(want.table, [*_no_jump(have), *_rules(want), *_jump(want)])
        case Opening(), Opening():
            return [*remove(have), *add(want)]
        case _:
            return add(want)


def remove(item: Chain | Opening) -> list[str]:
    """Spell the lines after which nothing is left of `item`."""
    match item:
        case Opening():
            return [f"delete rule {_base(item)} handle {handle}" for handle in item.handles]
        case Chain(by=by) if by == NFT:
            return [f"delete table {_nft_table(item)}"]
        case Chain(by=by) if by == ORPHAN:
            return _orphan(item)
        case Chain():
            return _table(item.table, [*_no_jump(item), f"-F {item.chain}", f"-X {item.chain}"])


def _table(table: str, lines: list[str]) -> list[str]:
    """One table is one transaction: at no moment is a rule missing."""
    return [f"*{table}", *lines, "COMMIT"]


def _jump(chain: Chain) -> list[str]:
    return [f"-I {jump.hook} {jump.position} -j {chain.chain}" for jump in chain.jumps]


def _no_jump(chain: Chain) -> list[str]:
    return [f"-D {jump.hook} {f'{jump.match} ' if jump.match else ''}-j {chain.chain}" for jump in chain.jumps]


def _rules(chain: Chain) -> list[str]:
    """`:NAME` makes the chain, or empties it, inside the transaction."""
    return [f":{chain.chain} - [0:0]", *(f"-A {chain.chain} {in_iptables(rule)}" for rule in chain.rules)]


def _nft(chain: Chain) -> list[str]:
    """Replace the table that holds the chain; naming it first makes it, so that there is one to delete.

    All lines of one nft are one transaction, however many tables they are about.
    """
    table, (priority, _) = _nft_table(chain), PRIORITIES[chain.table]
    hooks = [f"type {chain.table} hook {jump.hook.lower()} priority {priority}; policy accept;" for jump in chain.jumps]
    lines = [*hooks, *map(in_nft, chain.rules)]
    return [f"table {table}", f"delete table {table}", f"table {table} {{", f"chain {chain.chain} {{", *lines, "}", "}"]


def _nft_table(chain: Chain) -> str:
    owner = marks.of(marks.ANY_CHAIN, chain.chain) or marks.FIRST
    return f"ip {owner.table(chain.table)}"


def _orphan(chain: Chain) -> list[str]:
    """Remove what iptables has made, in nft's words: iptables is gone."""
    calls = [f"delete rule ip {chain.table} {jump.hook} {jump.match}" for jump in chain.jumps]
    place = f"chain ip {chain.table} {chain.chain}"
    return [*calls, f"flush {place}", f"delete {place}"]


def _base(opening: Opening) -> str:
    return f"{opening.family} {opening.table} {opening.chain}"

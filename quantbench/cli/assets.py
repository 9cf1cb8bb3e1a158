"""`quantbench assets`: what has to be fetched, and whether it is here."""

from __future__ import annotations

from quantbench.cli.arguments import Parser
from quantbench.console import folded, row, show, table
from quantbench.errors import UserError, nearest


def main(arguments: list[str]) -> int:
    """Lists, fetches or verifies assets; 1 if one that is here is corrupt."""
    parser = Parser("quantbench assets", description="Weights and data that are not in the package.")
    actions = parser.add_subparsers(dest="action", metavar="list|fetch|verify")
    actions.add_parser("list", help="show all assets (what no action does too)")
    fetch = actions.add_parser("fetch", help="get assets into the cache")
    fetch.add_argument("names", nargs="+", metavar="NAME", help="an asset, or all")
    fetch.add_argument("--force", action="store_true", help="get it again even if it is here")
    actions.add_parser("verify", help="check the checksums of what is here")
    options = parser.parse_args(arguments)
    if options.action == "fetch":
        return _fetch(options.names, options.force)
    return _show(only_present=options.action == "verify")


def _fetch(names: list[str], force: bool) -> int:
    from quantbench.assets import ASSETS, fetch

    unknown = [name for name in names if name not in ASSETS and name != "all"]
    if unknown:
        raise UserError(f"no asset {unknown[0]}: {nearest(unknown[0], ASSETS)}")
    for name in ASSETS if "all" in names else names:
        folded(f"{name}: {fetch(name, force=force)}")
    return 0


def _show(only_present: bool) -> int:
    from quantbench.assets import ASSETS, Installed, cache_folder, status
    from quantbench.assets.sources import describe

    states = {name: status(name) for name in ASSETS}
    result = table("asset", "size", "status", "sources", "licence", "description", right=("size",))
    for name, asset in ASSETS.items():
        if states[name] != "missing" or not only_present:
            sources = ", ".join(describe(source) for source in asset.sources if not isinstance(source, Installed))
            row(result, name, readable_size(asset.size), states[name], sources, asset.licence, asset.description)
    show(result)
    folded(f"cache: {cache_folder()}")
    corrupt = [name for name, state in states.items() if state == "corrupt"]
    if corrupt:
        folded(f"corrupt: {', '.join(corrupt)}; run quantbench assets fetch --force {' '.join(corrupt)}")
    return 1 if corrupt and only_present else 0


def readable_size(size: int) -> str:
    """Bytes in the unit a person would use."""
    value = float(size)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if value >= 10 or unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"

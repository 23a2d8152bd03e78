"""The smallest activity."""

from temporalio import activity


@activity.defn
async def test_activity(name: str) -> str:
    """`Hello, <name>!`"""
    return f"Hello, {name}!"


test_activity.__test__ = False  # type: ignore[attr-defined]  # its name makes pytest collect it

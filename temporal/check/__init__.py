"""Is everything wired, and is workflow code deterministic: answered from the source, without a server.

    findings = run(config.load())
    print(render(findings, "human"))

Nothing is executed beyond importing the registered packages. Every rule stands in `RULES`.
"""

from temporal.check.engine import run
from temporal.check.findings import Finding, Severity
from temporal.check.render import Format, render
from temporal.check.rules import RULES, Rule

__all__ = ["RULES", "Finding", "Format", "Rule", "Severity", "render", "run"]

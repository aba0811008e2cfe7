"""The answer of a study: what its results are, what they say of its claims, written as a table and a page."""

from . import results
from .claims import judge_all
from .plan import Plan


def write(plan: Plan) -> str:
    table = results.write(plan)
    found = judge_all(plan, results.published(plan))
    lines = [
        f'* {one.sentence}: {one.verdict} ({one.value}, {one.low} to {one.high}; {one.how}; published {one.published})'
        for one in found
    ]
    return '\n'.join([*lines, str(table)])

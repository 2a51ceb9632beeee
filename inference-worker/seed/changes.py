"""The table of what can be changed: each row's lines of code, how a sentence tells it, and its effect.

Holes with `=` are written; the effect answers their new values, in the order of the holes. Lists and maps are never changed in place:
a new one is assigned. `gives` is what the change has at hand for an answer: code, how it is said, its meaning from the old values.
"""

from expression import Row
from readings import civil, ordinal


class Change(Row):
    """A production of one step of a method."""

    def __init__(self, lines, phrases, holes, effect, need="", weight=1.0, gives=None, **more):
        self.lines = lines.split("\n")
        super().__init__("change", lines, phrases, holes, effect, need=need, weight=weight, gives=gives, **more)
        self.written = [name for name, sign, _ in self.holes if sign == "="]


C = Change


def without(values, item):
    """The list without the first occurrence of an item."""
    at = next((i for i, value in enumerate(values) if value == item), len(values))
    return [value for i, value in enumerate(values) if i != at]


NUMBERS = [
    C("if {m} == 12:\n    {m} = 1\n    {y} = {y} + 1\nelse:\n    {m} = {m} + 1", "the next month comes: {m} go{m:es} up by one, and after 12 it is 1 and {y} go{y:es} up by one|{m} move{m:s} on by one; after December it is January and one more of {y}", "m=moon y=whole", lambda m, y: (1, 1 + y) if m > 11 else (1 + m, y), weight=0.4),
    C("{x} = {x} + {a:6} * {b:7}", "add {a} times {b} to {x}|{x} grow{x:s} by {a} times {b}", "x=num a?num b:num", lambda x, a, b: b * a + x, weight=0.5),
    C("{x} = {e}\n{y} = {y} + 1", "{x} become{x:s} {e}, and {y} grow{y:s} by one|take {e} as {x} and count one more on {y}", "x=text y=num e?text", lambda x, y, e: (e, 1 + y), weight=0.9),
    C("{y} = {x}\n{x} = {x} + {e:6}", "{y} become{y:s} what {x} {x:was}, and {x} grow{x:s} by {e}|keep {x} as {y}, then add {e} to {x}", "x=num y=num e?num", lambda x, y, e: (e + x, x), weight=0.5),
    C("{x} = {x} + {e:6}", "add {e} to {x}|{x} grow{x:s} by {e}|raise {x} by {e}|{x} go{x:es} up by {e}|{e} come{e:s} on top of {x}|increase {x} by {e}|{x} become{x:s} {e} more|put {e} on top of {x}|let {x} rise by {e}|{x} rise{x:s} by {e}|{x} increase{x:s} by {e}|{e} {e:is1} added to {x}|there {x:are} {e} more {x:b}", "x=num e:num", lambda x, e: e + x, weight=4),
    C("{x} = {x} - {e:6}", "take {e} off {x}|{x} fall{x:s} by {e}|lower {x} by {e}|{x} go{x:es} down by {e}|subtract {e} from {x}|decrease {x} by {e}|{x} become{x:s} {e} less|{x} sink{x:s} by {e}|{e} {e:is1} taken off {x}|reduce {x} by {e}|{x} shrink{x:s} by {e}|{e} go{e:es} off {x}|use up {e} of {x}", "x=num e:num", lambda x, e: -(e - x), weight=4),
    C("{x} = {x} + 1", "add one to {x}|count one more on {x}|{x} grow{x:s} by one|one more {x:1}|{x} go{x:es} up by one|count {x} up by one|raise {x} by 1|there is one more {x:1}|count one more {x:1}|{x} rise{x:s} by 1|{x} become{x:s} one more|increase {x} by one", "x=num", lambda x: 1 + x, weight=4),
    C("{x} = {x} - 1", "take one off {x}|count {x} down by one|{x} fall{x:s} by one|one {x:1} less|{x} go{x:es} down by one|lower {x} by 1|there is one {x:1} less|{x} sink{x:s} by 1|{x} become{x:s} one less|decrease {x} by one|use up one of {x}", "x=num", lambda x: -1 + x, weight=3),
    C("{x} = {x} * {e:7}", "multiply {x} by {e}|{x} become{x:s} {e} times as much|{x} {x:are} multiplied by {e}|make {x} {e} times what {x:was} there", "x=num e:num", lambda x, e: e * x, weight=1.2),
    C("{x} = {x} * 2", "double {x}|{x} double{x:s}|{x} become{x:s} twice as much|{x} {x:are} doubled|make {x} twice what {x:was} there", "x=num", lambda x: x + x, weight=1),
    C("{x} = {x} * 3", "triple {x}|{x} {x:are} tripled|{x} become{x:s} three times as much", "x=num", lambda x: x + x + x, weight=0.4),
    C("{x} = {x} / 2", "halve {x}|{x} {x:are} halved|{x} become{x:s} half as much", "x=num", lambda x: x / 2, weight=0.7),
    C("{x} = {x} // 2", "halve {x}, without the rest|{x} become{x:s} half as much, rounded down", "x=whole", lambda x: (x - x % 2) // 2, weight=0.4),
    C("{x} = -{x}", "turn the sign of {x} around|{x} change{x:s} sign|negate {x}", "x=num", lambda x: 0 - x, weight=0.4),
    C("{x} = 0", "set {x} to 0|{x} become{x:s} zero|{x} begin{x:s} again at 0|reset {x}|{x} go{x:es} back to 0|{x} start{x:s} over at zero|make {x} zero|clear {x}|nothing is left of {x}", "x=num", lambda x: 0, weight=2),
    C("{x} = max({m}, {x} - {e:6})", "take {e} off {x}, but never below {m}|{x} fall{x:s} by {e}, though not below {m}|lower {x} by {e}, at least {m} {m:is1} left|{x} go{x:es} down by {e}, with {m} as the least|subtract {e} from {x}; {x:they} never fall{x:s} below {m}", "x=num e:num m:low", lambda x, e, m: x - e if x - e >= m else m, weight=2),
    C("{x} = min({m}, {x} + {e:6})", "add {e} to {x}, but never above {m}|{x} grow{x:s} by {e}, though not beyond {m}|raise {x} by {e}, at most to {m}|{x} go{x:es} up by {e}, with {m} as the most|{x} rise{x:s} by {e} and stop{x:s} at {m}", "x=num e:num m:high", lambda x, e, m: x + e if x + e <= m else m, weight=2),
    C("{x} = max({l}, min({h}, {x} + {e:6}))", "add {e} to {x}; {x:they} stay{x:s} from {l} to {h}|{x} change{x:s} by {e}, never below {l} and never above {h}|add {e} to {x}, beyond {h} it stays at {h}, below {l} at {l}", "x=num e?num l!num h!num", lambda x, e, l, h: l if (h if x + e > h else x + e) < l else (h if x + e > h else x + e), weight=0.9),
    C("{x} = max({l}, min({h}, {e}))", "{x} become{x:s} {e}, held between {l} and {h}|set {x} to {e}, but not below {l} and not above {h}|take {e} for {x}; what lies outside {l} and {h} becomes the nearer of the two", "x=num e?num l:edge h!num", lambda x, e, l, h: l if (h if e > h else e) < l else (h if e > h else e), weight=0.9),
    C("{x} = max({x}, {e})", "{x} become{x:s} {e} when that is more|keep {e} as {x} when it is higher|{x} take{x:s} {e} if it is larger, else {x:they} stay{x:s}|{x} {x:are} raised to {e} when {x:they} {x:are} lower", "x=num e:num", lambda x, e: e if e > x else x, weight=1.2),
    C("{x} = min({x}, {e})", "{x} become{x:s} {e} when that is less|keep {e} as {x} when it is lower|{x} take{x:s} {e} if it is smaller, else {x:they} stay{x:s}", "x=num e:num", lambda x, e: e if e < x else x, weight=1),
    C("{x} = {x} + {a:6} - {b:6}", "{a} {a:is1} added to {x}, {b} {b:is1} taken off|{x} grow{x:s} by {a} and shrink{x:s} by {b}|add {a} to {x} and take {b} off again", "x=num a:num b:num", lambda x, a, b: x - b + a if not any(isinstance(v, float) for v in (x, a, b)) else x + a - b, weight=0.9),
    C("{x} = ({x} + 1) % {n:7}", "{x} go{x:es} up by one; at {n} {x:they} begin{x:s} again at 0|count {x} on by one, and from {n} start over at 0|{x} move{x:s} on by one, round and round below {n}", "x=whole n:step", lambda x, n: x + 1 - n * ((x + 1) // n), weight=0.9),
    C("{x} = ({x} + {e:6}) % {n:7}", "{x} move{x:s} on by {e}, and at {n} begin{x:s} again at 0|add {e} to {x}, counting round at {n}", "x=whole e:whole n:step", lambda x, e, n: x + e - n * ((x + e) // n), weight=0.6),
    C("{x} = round({x})", "round {x} to a whole number|{x} {x:are} rounded|{x} become{x:s} the nearest whole number", "x=frac", lambda x: int(format(x, ".0f")), weight=0.5),
    C("{x} = {x} * (100 + {e:6}) / 100", "raise {x} by {e} per cent|{x} grow{x:s} by {e} per cent|add {e} per cent to {x}", "x=num e:num", lambda x, e: (100 + e) * x / 100, weight=0.8),
    C("{x} = {x} * (100 - {e:6}) / 100", "lower {x} by {e} per cent|{x} fall{x:s} by {e} per cent|take {e} per cent off {x}", "x=num e:num", lambda x, e: (100 - e) * x / 100, weight=0.7),
    C("{x} = abs({x})", "{x} lose{x:s} its sign|{x} become{x:s} positive, whatever the sign", "x=num", lambda x: x if x >= 0 else 0 - x, weight=0.3),
]

SET = [
    C("{x} = {e}", "{x} become{x:s} {e}|set {x} to {e}|take {e} as {x}|{x} {x:are} {e} from now on|make {x} {e}|{e} become{e:s1} {x}|{x} take{x:s} {e}|put {e} into {x}|change {x} to {e}|keep {e} as {x}|{x} {x:are} to be {e}|store {e} in {x}|let {x} be {e}|{x} now {x:are} {e}|note {e} as {x}|remember {e} as {x}", "x=same_e e:settable", lambda x, e: e, weight=9),
    C("{x} = {e}\n{y} = {f}", "{x} become{x:s} {e} and {y} {f}|take {e} as {x} and {f} as {y}|set {x} to {e} and {y} to {f}|{e} is for {x}, {f} for {y}", "x=num y=text e?num f?text", lambda x, y, e, f: (e, f), weight=0.9),
    C("{x} = {e}\n{y} = {f}", "{x} become{x:s} {e} and {y} {f}|take {e} as {x} and {f} as {y}|set {x} to {e} and {y} to {f}|{e} is for {x}, {f} for {y}", "x=num y=num e?num f?num", lambda x, y, e, f: (e, f), weight=0.9),
    C("{x} = None", "{x} become{x:s} none|forget {x}|{x} {x:are} none from now on|there {x:are} no {x:b} any more|{x} {x:are} emptied to none|nothing is kept as {x}", "x=nullable", lambda x: None, weight=1.2),
    C("{x} = None\n{y} = None", "{x} and {y} become none|forget {x} and {y}|both {x} and {y} are none from now on", "x=text y=num", lambda x, y: (None, None), weight=0.6),
    C("held = {x}\n{x} = {y}\n{y} = held", "{x} and {y} change places|swap {x} and {y}|{x} become{x:s} what {y} {y:was}, and the other way round|exchange {x} with {y}|{x} and {y} trade their values", "x=swap y=same_x", lambda x, y: (y, x), weight=2),
    C("{y} = {x}\n{x} = {e}", "{x} become{x:s} {y}, and {e} become{e:s1} {x}|{e} become{e:s1} {x}; {y} become{y:s} what {x} {x:was}|keep what {x} {x:was} as {y} and take {e} as {x}|move {x} over to {y}, then set {x} to {e}", "x=swap y=same_x e?same_x", lambda x, y, e: (e, x), weight=1.6),
    C("{y} = {x}", "{y} become{y:s} {x}|copy {x} into {y}|{y} take{y:s} over {x}|{y} {y:are} set to what {x} {x:are}|make {y} the same as {x}", "x!swap y=same_x", lambda x, y: x, weight=1.4),
    C("{x} = {y}\n{y} = None", "{y} become{y:s} {x}; then there is no {y:b} any more|{x} take{x:s} over {y}, which become{y:s} none|move {y} to {x} and leave none behind", "x=text y=text", lambda x, y: (y, None), weight=0.8),
    C("held = {x}\n{x} = {y}\n{y} = {z}\n{z} = held", "{x}, {y} and {z} move on: each takes what the next one held, the last what the first held|{x} become{x:s} {y}, {y} become{y:s} {z} and {z} become{z:s} {x}, all at once", "x=text y=text z=text", lambda x, y, z: (y, z, x), weight=0.5),
    C("{x} = {x} - {e:6}\n{y} = {y} + {e:6}", "move {e} from {x} to {y}|{e} {e:go} from {x} to {y}|take {e} off {x} and add it to {y}|shift {e} over from {x} to {y}|{x} give{x:s} {e} to {y}|{y} get{y:s} {e} out of {x}", "x=num y=num e:num", lambda x, y, e: (-(e - x), e + y), weight=2.6),
    C("{x} = {x} + {y}\n{y} = 0", "add {y} to {x}, then {y} {y:are} 0|{y} {y:are} added to {x} and begin{y:s} again at 0|move all of {y} over to {x}|empty {y} into {x}", "x=num y=num", lambda x, y: (y + x, 0), weight=1.4),
]

TRUTHS = [
    C("{x} = not {x}", "turn {x:flag} around|{x:flag} change{x:s}: true becomes false and false true|toggle {x:flag}|flip {x:flag}|switch {x:flag} over|{x:flag} become{x:s} the opposite|turn {x:flag} on or off, whichever it is not", "x=bool", lambda x: x is False, weight=3),
    C("{x} = True", "{x:on} from now on|{x:flag} become{x:s} true|set {x:flag} to true|make {x:flag} true|note that {x:on}|{x:on} then|now {x:on}|turn {x:flag} on|switch {x:flag} on", "x=bool", lambda x: True, weight=3),
    C("{x} = False", "{x:off} any more|{x:flag} become{x:s} false|set {x:flag} to false|make {x:flag} false|note that {x:off}|{x:off} then|{x:off} from now on|turn {x:flag} off|switch {x:flag} off", "x=bool", lambda x: False, weight=3),
    C("{x} = {e}", "note in {x:flag} whether {e}|{x:flag} tell{x:s} whether {e} from now on|keep whether {e} as {x:flag}|set {x:flag} to whether {e}", "x=bool e:bool", lambda x, e: e, weight=1.4),
    C("{x} = {e}", "{x:flag} become{x:s} {e}|set {x:flag} to {e}|take {e} as {x:flag}", "x=bool e?bool", lambda x, e: e, weight=1.2),
]

LISTS = [
    C("{x} = {x} + [{e}]", "put {e} at the end of {x}|append {e} to {x}|add {e} to {x}|{e} {e:go} to the end of {x}|{x} get{x:s} {e} at the end|{e} {e:is1} one more of {x}|{x} grow by {e} at the end|note {e} at the end of {x}|{e} join{e:s1} {x}, last", "x=scalars e:element", lambda x, e: [*x, e], weight=6),
    C("{x} = [{e}] + {x}", "put {e} at the beginning of {x}|{e} {e:go} to the front of {x}|add {e} before all {x:b}|{x} get{x:s} {e} as the first|put {e} in front of {x}", "x=scalars e:element", lambda x, e: [e, *x], weight=1.5),
    C("if {e} not in {x}:\n    {x} = {x} + [{e}]", "put {e} at the end of {x}, unless it is there already|add {e} to {x} when it is not among them yet|{e} {e:go} to the end of {x} if {x:they} do not have it|append {e} to {x}, but not twice", "x=scalars e?element", lambda x, e: x if any(v == e for v in x) else [*x, e], weight=2),
    C("items = list({x})\nif {e} in items:\n    items.remove({e})\n{x} = items", "take {e} out of {x}|remove {e} from {x}|{e} leave{e:s1} {x}|drop {e} from {x}, the first of several|{e} {e:is1} no longer among {x}|strike {e} off {x}", "x=scalars e?element", without, weight=3),
    C("{x} = [item for item in {x} if item != {e:5}]", "take every {e} out of {x}|remove {e} from {x} wherever it stands|all that equals {e} leaves {x}|{x} keep{x:s} only what is not {e}", "x=scalars e:element", lambda x, e: [v for v in x if not v == e], weight=1),
    C("{x} = []", "empty {x}|no {x:b} are left|{x} become{x:s} empty|remove all {x:b}|clear {x}|all {x:b} go|{x} have nothing in them any more|throw all {x:b} away|forget all {x:b}", "x=items", lambda x: [], weight=2),
    C("{x} = sorted({x})", "sort {x}|{x} stand in order from now on|put {x} in order|{x} {x:are} sorted, the smallest first|bring {x} into ascending order", "x=ordered", lambda x: sorted(list(x)), weight=1.6),
    C("{x} = sorted({x}, reverse=True)", "sort {x}, the largest first|{x} stand in descending order from now on|put {x} in order from the largest to the smallest", "x=nums", lambda x: sorted(x)[::-1], weight=0.8),
    C("{x} = list(reversed({x}))", "turn {x} around|{x} stand the other way round from now on|reverse {x}|bring {x} into reverse order|the last of {x} becomes the first, and so on", "x=items", lambda x: x[::-1], weight=1.2),
    C("{x} = {x}[1:]", "drop the first of {x}|the first {x:1} goes|take the first {x:1} away|remove the first of {x}", "x=items", lambda x: [v for i, v in enumerate(x) if i], need="x", weight=1, gives=("before[0]", "{x}[0]")),
    C("{x} = {x}[:-1]", "drop the last of {x}|the last {x:1} goes|take the last {x:1} away|remove the newest of {x}", "x=items", lambda x: [v for i, v in enumerate(x) if i < len(x) - 1], need="x", weight=1, gives=("before[-1]", "{x}[-1]")),
    C("{x} = {x}[-{n:9}:]", "keep only the last {n} of {x}|only the newest {n} {x:b} are kept|{x} are cut to the last {n}", "x=items n#size", lambda x, n: [v for i, v in enumerate(x) if i >= len(x) - n], weight=0.9),
    C("{x} = {x}[:{n}]", "keep only the first {n} of {x}|only the first {n} {x:b} are kept|{x} are cut to the first {n}", "x=items n:size", lambda x, n: [v for i, v in enumerate(x) if i < n], weight=0.9),
    C("{x} = ({x} + [{e}])[-{n:9}:]", "put {e} at the end of {x} and keep only the last {n}|add {e} to {x}, of which only the newest {n} are kept|{e} {e:go} to the end of {x}; the oldest go when there are more than {n}", "x=scalars e?element n#size", lambda x, e, n: [v for i, v in enumerate([*x, e]) if i >= len(x) + 1 - n], weight=1),
    C("{x} = {x} + {e:6}", "put all of {e} at the end of {x}|{e} are appended to {x}, all of them|add each of {e} to {x}, in their order|{x} take in all of {e}", "x=texts e!texts", lambda x, e: [*x, *e], weight=0.8),
    C("{x} = {x} + {e:6}", "put all of {e} at the end of {x}|add each of {e} to {x}, in their order|{x} take in all of {e}", "x=nums e?nums", lambda x, e: [*x, *e], weight=0.8),
    C("{x} = {x} + {y}\n{y} = []", "all {y:b} go to the end of {x}; none of {y} are left|move all of {y} to the end of {x}|{x} take{x:s} over all {y:b}, and {y} become empty", "x=texts y=texts", lambda x, y: ([*x, *y], []), weight=0.9),
    C("{x} = list(dict.fromkeys({x}))", "each of {x} is kept once|drop those of {x} that are there already|{x} lose{x:s} repetitions, the first of equal ones staying", "x=scalars", lambda x: [v for i, v in enumerate(x) if v not in x[:i]], weight=0.7),
    C("{x} = [item * {e:7} for item in {x}]", "multiply each of {x} by {e}|each of {x} becomes {e} times as much|{x} are all multiplied by {e}", "x=nums e:num", lambda x, e: [v * e for v in x], weight=0.8),
    C("{x} = [item + {e:6} for item in {x}]", "add {e} to each of {x}|each of {x} grows by {e}|{x} all rise by {e}", "x=nums e:num", lambda x, e: [v + e for v in x], weight=0.8),
    C("{x} = [item.strip() for item in {x}]", "white space at the ends of {x} goes|strip each of {x}", "x=texts", lambda x: [v.lstrip().rstrip() for v in x], weight=0.4),
    C("{x} = [{n} if item == {o} else item for item in {x}]", "every {o} among {x} becomes {n}|replace {o} by {n} in {x}, wherever it stands|each of {x} that is {o} turns into {n}", "x=texts o?text n?text", lambda x, o, n: [n if v == o else v for v in x], weight=0.9),
    C("items = list({x})\nitems.insert({n}, {e})\n{x} = items", "put {e} into {x} at the place {n}, counted from 0|{e} {e:go} into {x} at place {n}; those from there on move back|insert {e} into {x} at {n}", "x=texts e?text n?at", lambda x, e, n: [*x[:n], e, *x[n:]], weight=0.8),
    C("{x} = {x}[1:] + {x}[:1]", "the first of {x} goes to their end|the first {x:1} becomes the last|{x} move on by one: the first goes behind the last", "x=items", lambda x: [v for i, v in enumerate(x) if i] + [v for i, v in enumerate(x) if not i], weight=0.8),
    C("{y} = {y} + [{x}[0]]\n{x} = {x}[1:]", "the first of {x} goes to the end of {y}|move the first {x:1} to the end of {y}|take the first of {x} and put it at the end of {y}", "x=texts y=texts", lambda x, y: ([v for i, v in enumerate(x) if i], [*y, x[0]]), need="x", weight=1.2),
    C("{y} = {y} + [{x}[-1]]\n{x} = {x}[:-1]", "the last of {x} goes to the end of {y}|move the last {x:1} to the end of {y}|take the last of {x} off and put it at the end of {y}", "x=texts y=texts", lambda x, y: ([v for i, v in enumerate(x) if i < len(x) - 1], [*y, x[-1]]), need="x", weight=0.9),
]

MAPS = [
    C("entries = dict({x})\nentries[{k}], entries[{m}] = entries.get({m}), entries.get({k})\n{x} = entries", "what stands under {k} and under {m} in {x} changes places, none for what is not there|swap the entries of {k} and {m} in {x}", "x=tmap k?text m?text", lambda x, k, m: {**x, k: x[m] if m in x else None, m: x[k] if k in x else None}, weight=0.4),
    C("entries = dict({x})\nfor key in {e}:\n    entries[key] = entries.get(key, 0) + {e}[key]\n{x} = entries", "add each value of {e} to what {x} {x:has} under its key|{x} grow by the values of {e}, key by key, from 0 where there is nothing", "x=map e?map", lambda x, e: {k: (x[k] if k in x else 0) + (e[k] if k in e else 0) for k in [*x, *e]}, weight=0.5),
    C("if {e} > {x}.get({k}, 0):\n    entries = dict({x})\n    entries[{k}] = {e}\n    {x} = entries", "keep {e} under {k} in {x} when it is more than what is there, 0 counting for nothing|{x} take{x:s} {e} for {k} if that is larger than what they hold, 0 when they hold none", "x=map k?text e?whole", lambda x, k, e: {**x, k: e} if e > (x[k] if k in x else 0) else x, weight=0.7),
    C("entries = dict({x})\nentries[{k}] = {e}\n{x} = entries", "put {e} under {k} into {x}|{x} get{x:s} {e} under {k}|under {k}, {x} hold{x:s} {e} from now on|note {e} for {k} in {x}|set {x} of {k} to {e}|keep {e} in {x} under {k}", "x=map k?text e:num", lambda x, k, e: {**x, k: e}, weight=2.4),
    C("entries = dict({x})\nentries[{k}] = {e}\n{x} = entries", "put {e} under {k} into {x}|{x} get{x:s} {e} under {k}|under {k}, {x} hold{x:s} {e} from now on|note {e} for {k} in {x}", "x=tmap k?text e?text", lambda x, k, e: {**x, k: e}, weight=1.4),
    C("entries = dict({x})\nentries.pop({k}, None)\n{x} = entries", "take {k} out of {x}|remove the entry of {k} from {x}|{x} lose{x:s} what stands under {k}|forget {k} in {x}", "x=maps k?text", lambda x, k: {n: x[n] for n in x if n != k}, weight=1.6),
    C("entries = dict({x})\nentries[{k}] = entries.get({k}, 0) + {e:6}\n{x} = entries", "add {e} to what {x} {x:has} under {k}, which begins at 0|{x} grow{x:s} by {e} for {k}|raise {x} of {k} by {e}, from 0 when it is not there|count {e} more for {k} in {x}", "x=map k?text e:num", lambda x, k, e: {**x, k: (x[k] if k in x else 0) + e}, weight=2),
    C("entries = dict({x})\nentries[{k}] = entries.get({k}, 0) + 1\n{x} = entries", "count one more for {k} in {x}|{x} grow{x:s} by one for {k}|one more for {k} in {x}, from 0 when it is not there|add one to what stands under {k} in {x}, 0 when nothing does", "x=map k?text", lambda x, k: {**x, k: 1 + (x[k] if k in x else 0)}, weight=1.6),
    C("entries = dict({x})\nentries[{k}] = entries.get({k}, []) + [{e}]\n{x} = entries", "put {e} at the end of the list under {k} in {x}; a key without a list gets one|{e} {e:go} to the end of what {x} {x:has} under {k}, an empty list when nothing is there", "x=lmap k?text e?text", lambda x, k, e: {**x, k: [*(x[k] if k in x else []), e]}, weight=1),
    C("{x} = {{}}", "empty {x}|no entries are left in {x}|{x} lose{x:s} all entries|clear {x}", "x=maps", lambda x: {}, weight=0.9),
    C("{x} = {{key: value for key, value in {x}.items() if value > {e:5}}}", "only entries of {x} whose value is more than {e} are kept|drop the entries of {x} that are not above {e}", "x=map e:num", lambda x, e: {k: x[k] for k in x if e < x[k]}, weight=0.7),
    C("{x} = {{key: value for key, value in {x}.items() if value != 0}}", "entries of {x} whose value is 0 go|drop the entries of {x} that are 0|only entries of {x} with something other than 0 are kept", "x=map", lambda x: {k: x[k] for k in x if x[k]}, weight=0.6),
    C("{x} = {{key: value * {e:7} for key, value in {x}.items()}}", "multiply each value of {x} by {e}|the values of {x} all become {e} times as much", "x=map e:num", lambda x, e: {k: x[k] * e for k in x}, weight=0.6),
    C("entries = dict({x})\nentries.update({e})\n{x} = entries", "take every entry of {e} over into {x}; what is there already is replaced|{x} take{x:s} in all entries of {e}|put all entries of {e} into {x}", "x=map e?map", lambda x, e: {k: e[k] if k in e else x[k] for k in [*x, *e]}, weight=0.8),
]

TEXTS = [
    C("{x} = {x} + {e:6}", "put {e} at the end of {x}|{x} get{x:s} {e} at the end|append {e} to {x}|{e} {e:go} behind {x}, with nothing between|extend {x} by {e}", "x=text e:text1", lambda x, e: "".join((x, e)), weight=1.6),
    C("{x} = {e:5} + {x}", "put {e} at the beginning of {x}|put {e} before {x}|{e} {e:go} in front of {x}", "x=text e:text1", lambda x, e: "".join((e, x)), weight=0.8),
    C('{x} = f"{{{x}}} {{{e}}}"', "put a space and {e} at the end of {x}|{x} get{x:s} {e} at the end, after a space|append {e} to {x} with a space between", "x=text e?text", lambda x, e: x + " " + e, weight=0.8),
    C("{x} = {x}.strip()", "white space at both ends of {x} goes|strip {x}|take the spaces off both ends of {x}", "x=text", lambda x: x.lstrip().rstrip(), weight=0.8),
    C("{x} = {x}.upper()", "{x} {x:are} in capitals from now on|write {x} in capital letters|turn {x} into capitals", "x=text", lambda x: "".join(c.upper() for c in x), weight=0.9),
    C("{x} = {x}.lower()", "{x} {x:are} in small letters from now on|write {x} small|turn {x} into small letters", "x=text", lambda x: "".join(c.lower() for c in x), weight=0.8),
    C("{x} = {x}.title()", "each word of {x} gets a capital|write {x} with a capital at the beginning of each word", "x=text", lambda x: x.title(), weight=0.5),
    C("{x} = {e}.strip()", "{x} become{x:s} {e} without the white space around it|take {e}, stripped, as {x}", "x=text e?text", lambda x, e: e.lstrip().rstrip(), weight=0.8),
    C("{x} = {e}.title()", "{x} become{x:s} {e} with a capital at the beginning of each word|take {e} as {x}, each word with a capital", "x=text e?text", lambda x, e: e.title(), weight=0.5),
    C("{x} = {e}[:{n}]", "take {e} as {x}, cut to {n} characters|{x} become{x:s} {e}, of which at most {n} characters are kept", "x=text e?text n#size", lambda x, e, n: "".join(c for i, c in enumerate(e) if i < n), weight=0.9),
    C("{x} = {x}[:{n}]", "cut {x} to {n} characters|only the first {n} characters of {x} are kept", "x=text n:size", lambda x, n: "".join(c for i, c in enumerate(x) if i < n), weight=0.7),
    C("{x} = {x}.replace({o}, {n})", "every {o} in {x} becomes {n}|replace {o} by {n} in {x}", "x=text o?text1 n?text1", lambda x, o, n: n.join(x.split(o)) if o else x.replace(o, n), weight=0.9),
    C('{x} = ""', "empty {x}|{x} become{x:s} an empty text|{x} {x:are} blank from now on|clear {x}|nothing is left in {x}", "x=text", lambda x: "", weight=1),
]

DATES = [
    C("{x} = (datetime.datetime.fromisoformat({x}) + datetime.timedelta(days={n})).isoformat()[:10]", "{x} move{x:s} {n} days later|put {x} off by {n} days|{x} become{x:s} the day {n} days after it|shift {x} by {n} days", "x=date n:days", lambda x, n: civil(ordinal(x) + n), weight=1.6),
    C("{x} = {e}", "{x} become{x:s} {e}|set {x} to {e}|take {e} as {x}", "x=date e?date", lambda x, e: e, weight=0.8),
    C("{x} = max({x}, {e})", "{x} become{x:s} {e} when that is later|keep the later of {x} and {e} as {x}", "x=date e?date", lambda x, e: x if x >= e else e, weight=0.8),
    C("{x} = min({x}, {e})", "{x} become{x:s} {e} when that is earlier|keep the earlier of {x} and {e} as {x}", "x=date e?date", lambda x, e: x if x <= e else e, weight=0.6),
    C("{x} = {x} + [{e}]", "put {e} at the end of {x}|note {e} as one more of {x}", "x=dates e?date", lambda x, e: [*x, e], weight=0.8),
]

ALL = NUMBERS + SET + TRUTHS + LISTS + MAPS + TEXTS + DATES

"""The families as a table of rules: phrases of a selector, the kinds of slot that fit, the one
canonical body, and the effect that the body must have, written separately from it.

In a phrase `{x}` is the slot's name and `{s}` its singular. In a body `X` is the slot. An effect is
`effect(state, x, *arguments) -> answer`, and changes `state` as the method should.
"""

NUMBER = ("int", "float")
NUMBERS = ("list[int]", "list[float]", "list")
LISTS = ("list[int]", "list[float]", "list[text]", "list[bool]", "list")
ORDERED = ("list[int]", "list[float]", "list[text]", "list")
ANY = ("int", "float", "text", "bool", "map", "ref", "none", "bytes") + LISTS
DONE = "    self._p_changed = True\n    return self.X\n"


class Rule:
    """One way to answer a message about one slot."""

    def __init__(self, family, kinds, arguments, phrases, body, effect, bare="", params=(), changes=None, weight=1.0):
        self.family, self.kinds, self.arguments = family, kinds, arguments
        self.phrases, self.bare = phrases.split(), bare.split()
        self.body, self.effect, self.params = body, effect, params
        self.changes = "_p_changed" in body if changes is None else changes
        self.weight = weight


def put(change):
    """An effect that sets the slot to `change(old, *arguments)` and answers the new value."""

    def effect(state, x, *arguments):
        state[x] = change(state[x], *arguments)
        return state[x]

    return effect


def look(reading):
    """An effect that only answers `reading(value, *arguments)`."""
    return lambda state, x, *arguments: reading(state[x], *arguments)


def without(values, item):
    """The list without the first occurrence of an item."""
    for place, value in enumerate(values):
        if value == item:
            return values[:place] + values[place + 1:]
    return values


def assign(expression):
    """A body that assigns one expression and answers the slot."""
    return f"    self.X = {expression}\n" + DONE


def answer(expression):
    """A body that answers one expression."""
    return f"    return {expression}\n"


def guarded(empty, expression):
    """A body that answers `empty` for an empty list."""
    return f"    if not self.X:\n        return {empty}\n    return {expression}\n"


DROP = (
    "    items = list(self.X)\n    if item in items:\n        items.remove(item)\n    self.X = items\n" + DONE
)

RULES = [
    Rule("read", ANY, (), "get_{x} read_{x} fetch_{x} show_{x} current_{x} tell_{x} what_is_{x} what_is_the_{x} give_{x} "
         "give_me_{x} get_the_{x} show_me_{x} tell_me_{x} the_{x} my_{x} your_{x} look_up_{x} retrieve_{x} value_of_{x} "
         "{x}_value read_out_{x} return_{x} view_{x} see_{x} load_{x} access_{x} obtain_{x} ask_{x} say_{x} get_{x}_value "
         "get_current_{x} show_current_{x} what_{x} inspect_{x} {x}_of", answer("self.X"), look(lambda v: v), "get read fetch value", weight=3),
    Rule("read", ("bool",), (), "is_{x} check_{x} is_it_{x} are_you_{x} is_{x}_on was_{x} is_{x}_set check_if_{x}", answer("self.X"), look(lambda v: v), weight=.5),
    Rule("set", ANY, ("same",), "set_{x} change_{x} update_{x} assign_{x} put_{x} replace_{x} set_{x}_to make_{x} write_{x} "
         "change_{x}_to rename_{x} store_{x} save_{x} edit_{x} define_{x} set_the_{x} set_new_{x} new_{x} modify_{x} "
         "update_{x}_to give_{x}_value set_{x}_value assign_to_{x} let_{x}_be put_into_{x} overwrite_{x} adjust_{x} choose_{x} set_my_{x} "
         "with_{x} set_{x}_as replace_{x}_with replace_{x}_by rename_{x}_to", assign("value"), put(lambda v, n: n), "set change update assign set_value", ("value",), weight=3),
    Rule("toggle", ("bool",), (), "toggle_{x} flip_{x} switch_{x} invert_{x} toggle_the_{x} negate_{x} swap_{x} flip_{x}_flag toggle_{x}_state change_{x}_state reverse_{x}_flag",
         assign("not self.X"), put(lambda v: not v), "toggle flip switch invert", weight=2),
    Rule("turn_on", ("bool",), (), "turn_on_{x} enable_{x} switch_on_{x} turn_{x}_on make_{x}_true set_{x}_true mark_{x} mark_as_{x} mark_{x}_true set_{x}_on switch_{x}_on become_{x} start_{x}",
         assign("True"), put(lambda v: True), "turn_on enable switch_on activate", weight=1.5),
    Rule("turn_off", ("bool",), (), "turn_off_{x} disable_{x} switch_off_{x} turn_{x}_off make_{x}_false set_{x}_false unmark_{x} mark_not_{x} mark_{x}_false set_{x}_off switch_{x}_off stop_{x} reset_{x} clear_{x}",
         assign("False"), put(lambda v: False), "turn_off disable switch_off deactivate", weight=1.5),
    Rule("increase", NUMBER, ("number",), "increment_{x} increase_{x} increase_{x}_by increment_{x}_by add_to_{x} raise_{x} raise_{x}_by bump_{x} bump_{x}_by count_{x}_up_by "
         "count_up_{x} count_up_{x}_by add_{x} grow_{x} grow_{x}_by boost_{x} boost_{x}_by {x}_plus increase_the_{x} increase_the_{x}_by gain_{x} earn_{x} add_more_{x} deposit_{x} deposit_to_{x} "
         "deposit_into_{x} add_amount_to_{x} extend_{x}_by step_{x}_up_by move_{x}_up_by count_up_the_{x}_by", assign("self.X + amount"), put(lambda v, a: v + a),
         "deposit increase increase_by increment_by add_amount earn gain count_up_by raise_by", ("amount",), weight=3),
    Rule("decrease", NUMBER, ("number",), "decrement_{x} decrease_{x} decrease_{x}_by decrement_{x}_by subtract_from_{x} lower_{x} lower_{x}_by reduce_{x} reduce_{x}_by count_{x}_down_by "
         "count_down_{x} count_down_{x}_by take_from_{x} remove_from_{x} deduct_from_{x} shrink_{x}_by spend_{x} {x}_minus drop_{x}_by cut_{x}_by lose_{x} withdraw_{x} withdraw_from_{x} subtract_{x} "
         "take_{x} use_{x} spend_from_{x} decrease_the_{x}_by", assign("self.X - amount"), put(lambda v, a: v - a),
         "withdraw decrease decrease_by decrement_by spend reduce_by count_down_by lower_by", ("amount",), weight=2.5),
    Rule("count_up", NUMBER, (), "increment_{x} increase_{x} raise_{x} bump_{x} count_up_{x} count_{x}_up add_one_to_{x} bump_up_{x} step_up_{x} increase_{x}_by_one increment_{x}_by_one "
         "inc_{x} advance_{x} increment_the_{x} increase_the_{x} next_{x} add_1_to_{x} grow_{x} tick_{x}", assign("self.X + 1"), put(lambda v: v + 1), "increment count_up increase tick inc add_one step_up bump", weight=2.5),
    Rule("count_down", NUMBER, (), "decrement_{x} decrease_{x} lower_{x} reduce_{x} count_down_{x} count_{x}_down subtract_one_from_{x} take_one_from_{x} step_down_{x} decrease_{x}_by_one decrement_{x}_by_one "
         "dec_{x} decrement_the_{x} decrease_the_{x} previous_{x} shrink_{x}", assign("self.X - 1"), put(lambda v: v - 1), "decrement count_down decrease dec subtract_one step_down", weight=2),
    Rule("reset", NUMBER, (), "reset_{x} clear_{x} zero_{x} set_{x}_to_zero reset_the_{x} reset_{x}_to_zero restart_{x} empty_{x} zero_out_{x}", assign("0"), put(lambda v: 0), "reset set_to_zero", weight=1.2),
    Rule("reset", ("text",), (), "reset_{x} clear_{x} empty_{x} reset_the_{x} erase_{x} wipe_{x} blank_{x}", assign('""'), put(lambda v: ""), weight=.6),
    Rule("scale", NUMBER, (), "double_{x} twice_{x} make_{x}_double double_the_{x}", assign("self.X * 2"), put(lambda v: v * 2), "double", weight=.8),
    Rule("scale", NUMBER, (), "triple_{x} triple_the_{x}", assign("self.X * 3"), put(lambda v: v * 3), "triple", weight=.4),
    Rule("scale", NUMBER, (), "halve_{x} half_{x} halve_the_{x}", assign("self.X / 2"), put(lambda v: v / 2), "halve", weight=.5),
    Rule("scale", NUMBER, ("number",), "multiply_{x}_by multiply_{x} scale_{x}_by scale_{x} times_{x} multiply_the_{x}_by", assign("self.X * amount"), put(lambda v, a: v * a), "multiply_by", ("amount",), weight=.8),
    Rule("scale", NUMBER, (), "negate_{x} change_sign_of_{x}", assign("-self.X"), put(lambda v: -v), weight=.3),
    Rule("compute", NUMBER, ("number",), "{x}_times {x}_multiplied_by", answer("self.X * amount"), look(lambda v, a: v * a), "", ("amount",), weight=.3),
    Rule("compute", NUMBER, (), "square_of_{x} {x}_squared squared_{x}", answer("self.X * self.X"), look(lambda v: v * v), weight=.4),
    Rule("compute", NUMBER, (), "absolute_{x} abs_{x} absolute_value_of_{x}", answer("abs(self.X)"), look(lambda v: -v if v < 0 else v), weight=.3),
    Rule("compute", ("float",), (), "rounded_{x} round_{x}", answer("round(self.X)"), look(lambda v: int(format(v, ".0f"))), weight=.3),
    Rule("compare", NUMBER, ("number",), "is_{x}_above {x}_above {x}_more_than is_{x}_greater_than is_{x}_more_than {x}_greater_than is_{x}_over has_more_{x}_than {x}_exceeds is_{x}_larger_than is_{x}_bigger_than",
         answer("self.X > value"), look(lambda v, a: a < v), "", ("value",), weight=.9),
    Rule("compare", NUMBER, ("number",), "is_{x}_below {x}_below {x}_less_than is_{x}_less_than is_{x}_under {x}_smaller_than is_{x}_smaller_than has_less_{x}_than", answer("self.X < value"), look(lambda v, a: a > v), "", ("value",), weight=.8),
    Rule("compare", NUMBER, ("number",), "is_{x}_at_least has_at_least_{x} {x}_at_least has_enough_{x} enough_{x}", answer("self.X >= value"), look(lambda v, a: not v < a), "", ("value",), weight=.5),
    Rule("compare", ("int", "float", "text", "bool", "ref"), ("same",), "is_{x}_equal_to {x}_equals {x}_is is_{x}_same_as has_{x} is_{x} same_{x}_as compare_{x} {x}_matches", answer("self.X == value"), look(lambda v, a: v == a), "", ("value",), weight=.9),
    Rule("compare", NUMBER, (), "is_{x}_positive {x}_is_positive positive_{x}", answer("self.X > 0"), look(lambda v: v > 0), weight=.4),
    Rule("compare", NUMBER, (), "is_{x}_negative {x}_is_negative negative_{x}", answer("self.X < 0"), look(lambda v: v < 0), weight=.3),
    Rule("compare", NUMBER, (), "is_{x}_zero {x}_is_zero has_no_{x}", answer("self.X == 0"), look(lambda v: not v), weight=.3),
    Rule("compare", ("int",), (), "is_{x}_even {x}_is_even even_{x}", answer("self.X % 2 == 0"), look(lambda v: v & 1 == 0), weight=.3),
    Rule("append", LISTS, ("element",), "append_to_{x} append_{s} add_to_{x} add_{s} push_{s} push_{x} push_to_{x} push_onto_{x} append_{x} add_{s}_item add_item_to_{x} insert_into_{x} insert_{s} put_into_{x} put_in_{x} "
         "record_{s} add_new_{s} include_{s} include_in_{x} append_item_to_{x} new_{s} store_{s} save_{s} enter_{s} add_a_{s} add_another_{s} extend_{x}_with log_{s} store_in_{x} add_one_{s} insert_{s}_into_{x} add_into_{x} place_in_{x} add_{s}_to_{x}",
         assign("self.X + [item]"), put(lambda v, i: [*v, i]), "append push add_item append_item insert", ("item",), weight=3.5),
    Rule("prepend", LISTS, ("element",), "prepend_to_{x} prepend_{s} add_to_front_of_{x} insert_first_{s} push_to_front_of_{x}", assign("[item] + self.X"), put(lambda v, i: [i, *v]), "prepend", ("item",), weight=.5),
    Rule("remove", LISTS, ("element",), "remove_from_{x} remove_{s} delete_from_{x} drop_from_{x} delete_{s} drop_{s} take_from_{x} take_out_of_{x} discard_{s} discard_from_{x} erase_{s} remove_item_from_{x} "
         "take_away_{s} remove_{s}_from_{x} delete_item_from_{x} forget_{s} pull_from_{x} exclude_{s} without_{s} cross_off_{s}", DROP, put(without), "remove_item remove delete_item discard", ("item",), weight=3),
    Rule("clear", LISTS, (), "clear_{x} empty_{x} reset_{x} remove_all_{x} delete_all_{x} erase_{x} wipe_{x} drop_all_{x} clear_all_{x} clear_the_{x} forget_all_{x} flush_{x}", assign("[]"), put(lambda v: []), "clear empty clear_all remove_all", weight=1.4),
    Rule("length", LISTS, (), "count_of_{x} number_of_{x} how_many_{x} size_of_{x} length_of_{x} {s}_count {x}_count count_{x} {x}_length {x}_size num_{x} {s}_number amount_of_{x} get_number_of_{x} "
         "how_long_is_{x} get_{s}_count count_the_{x} len_{x} total_number_of_{x} count_all_{x} how_many_{x}_are_there how_many_{x}_do_you_have", answer("len(self.X)"), look(lambda v: sum(1 for _ in v)), "length size how_many count_items number_of_items item_count", weight=2.5),
    Rule("length", ("text", "map", "bytes"), (), "size_of_{x} length_of_{x} {x}_length {x}_size how_long_is_{x} len_{x}", answer("len(self.X)"), look(lambda v: sum(1 for _ in v)), weight=.7),
    Rule("first", LISTS, (), "first_of_{x} first_{s} get_first_{s} first_in_{x} get_first_of_{x} show_first_{s} first_item_of_{x} head_of_{x} oldest_{s} first_{s}_of_{x} start_of_{x}", guarded("None", "self.X[0]"), look(lambda v: next(iter(v), None)), "first first_item", weight=1.2),
    Rule("last", LISTS, (), "last_of_{x} last_{s} get_last_{s} last_in_{x} get_last_of_{x} show_last_{s} last_item_of_{x} latest_{s} newest_{s} most_recent_{s} end_of_{x} final_{s}", guarded("None", "self.X[-1]"), look(lambda v: next(iter(v[::-1]), None)), "last last_item", weight=1.2),
    Rule("pop", LISTS, (), "pop_{s} pop_from_{x} pop_{x} remove_last_{s} take_last_{s} pop_last_{s}",
         "    if not self.X:\n        return None\n    item = self.X[-1]\n    self.X = self.X[:-1]\n    self._p_changed = True\n    return item\n",
         lambda state, x: state[x].pop() if state[x] else None, "pop", weight=.7),
    Rule("contains", LISTS, ("element",), "contains_{s} has_{s} has_in_{x} contains_in_{x} is_in_{x} in_{x} {x}_contains {x}_contain {x}_include {x}_includes includes_{s} is_{s} knows_{s} find_{s} {x}_has check_{s} exists_in_{x}",
         answer("item in self.X"), look(lambda v, i: any(i == e for e in v)), "contains includes", ("item",), weight=1.5),
    Rule("contains", LISTS, ("element",), "count_in_{x} how_often_in_{x} occurrences_in_{x} times_in_{x}", answer("self.X.count(item)"), look(lambda v, i: sum(1 for e in v if e == i)), "", ("item",), weight=.4),
    Rule("empty", LISTS + ("text", "map"), (), "is_{x}_empty {x}_empty {x}_is_empty are_{x}_empty no_{x} has_no_{x}", answer("len(self.X) == 0"), look(lambda v: not v), weight=.7),
    Rule("empty", LISTS + ("text", "map"), (), "has_{x} has_any_{x} any_{x}", answer("len(self.X) > 0"), look(bool), weight=.4),
    Rule("sum", NUMBERS, (), "sum_{x} sum_of_{x} total_{x} total_of_{x} sum_up_{x} add_up_{x} {x}_total {x}_sum {s}_sum {s}_total get_total_{x} get_sum_of_{x} sum_all_{x} compute_sum_of_{x} total_{s} sum_the_{x} calculate_total_{x} all_{x}_together",
         answer("sum(self.X)"), look(lambda v: sum(v[::-1]) if all(isinstance(e, int) for e in v) else sum(v)), "total add_up sum_up sum_all", weight=2),
    Rule("largest", NUMBERS, (), "largest_{s} largest_of_{x} max_{s} max_{x} max_of_{x} biggest_{s} biggest_of_{x} highest_{s} highest_of_{x} maximum_{s} maximum_of_{x} greatest_{s} top_{s} best_{s} get_largest_{s} get_highest_{s} "
         "get_max_{s} largest_{x} highest_{x} biggest_{x} find_largest_{s} largest_in_{x} {s}_max what_is_the_largest_{s} what_is_the_highest_{s} largest_value_in_{x}", guarded("None", "max(self.X)"), look(lambda v: sorted(v)[-1] if v else None),
         "largest biggest highest maximum greatest", weight=2.2),
    Rule("smallest", NUMBERS, (), "smallest_{s} smallest_of_{x} min_{s} min_{x} min_of_{x} lowest_{s} lowest_of_{x} minimum_{s} minimum_of_{x} least_{s} worst_{s} get_smallest_{s} get_lowest_{s} get_min_{s} smallest_{x} lowest_{x} "
         "find_smallest_{s} smallest_in_{x} {s}_min littlest_{s} what_is_the_smallest_{s}", guarded("None", "min(self.X)"), look(lambda v: sorted(v)[0] if v else None), "smallest lowest minimum least", weight=2),
    Rule("average", NUMBERS, (), "average_{s} average_{x} average_of_{x} mean_{s} mean_{x} mean_of_{x} get_average_{s} avg_{s} avg_{x} {s}_average {x}_average {x}_mean compute_average_{s} avg_of_{x} what_is_the_average_{s} average_in_{x}",
         guarded("0", "sum(self.X) / len(self.X)"), look(lambda v: sum(v) / len(v) if v else 0), "average mean avg", weight=2),
    Rule("spread", NUMBERS, (), "range_of_{x} spread_of_{x} {s}_range", guarded("0", "max(self.X) - min(self.X)"), look(lambda v: sorted(v)[-1] - sorted(v)[0] if v else 0), weight=.4),
    Rule("sorted", ORDERED, (), "sorted_{x} get_sorted_{x} {x}_sorted {x}_in_order ordered_{x} list_sorted_{x} show_sorted_{x} sorted_list_of_{x}", answer("sorted(self.X)"), look(lambda v: list(sorted(list(v)))), weight=1),
    Rule("sort", ORDERED, (), "sort_{x} order_{x} arrange_{x} put_{x}_in_order sort_the_{x}", assign("sorted(self.X)"), put(lambda v: list(sorted(list(v)))), "sort", weight=.8),
    Rule("reversed", LISTS, (), "reversed_{x} {x}_reversed {x}_backwards get_reversed_{x} {x}_in_reverse", answer("list(reversed(self.X))"), look(lambda v: v[::-1]), weight=.7),
    Rule("reverse", LISTS, (), "reverse_{x} turn_around_{x} reverse_the_{x} reverse_order_of_{x}", assign("list(reversed(self.X))"), put(lambda v: v[::-1]), "reverse", weight=.6),
    Rule("distinct", LISTS, (), "count_distinct_{x} distinct_{s}_count number_of_different_{x} how_many_different_{x}", answer("len(set(self.X))"), look(lambda v: len({e: 0 for e in v})), weight=.3),
    Rule("join", ("list[text]",), (), "join_{x} joined_{x} {x}_as_text list_{x} {x}_to_text", answer('", ".join(self.X)'), look(lambda v: "".join(e if n == 0 else ", " + e for n, e in enumerate(v))), weight=.6),
    Rule("text", ("text",), (), "upper_{x} uppercase_{x} {x}_in_capitals {x}_upper shout_{x} loud_{x} capital_{x}", answer("self.X.upper()"), look(lambda v: "".join(c.upper() for c in v)), "shout", weight=.6),
    Rule("text", ("text",), (), "lower_case_{x} lowercase_{x} {x}_lower {x}_in_lowercase whisper_{x}", answer("self.X.lower()"), look(lambda v: "".join(c.lower() for c in v)), weight=.4),
    Rule("text", ("text",), ("text",), "append_to_{x} add_to_{x} extend_{x} append_{x} append_text_to_{x} extend_{x}_with", assign("self.X + text"), put(lambda v, t: "".join((v, t))), "", ("text",), weight=.8),
    Rule("map_put", ("map",), ("key", "item"), "put_in_{x} set_in_{x} add_to_{x} put_into_{x} store_in_{x} add_{s} set_{s} record_{s} add_{x} put_{s} set_{x}_entry insert_into_{x} remember_{s} write_to_{x}",
         "    entries = dict(self.X)\n    entries[key] = value\n    self.X = entries\n" + DONE, put(lambda v, k, i: {**v, k: i}), "", ("key", "value"), weight=1.2),
    Rule("map_get", ("map",), ("key",), "get_from_{x} look_up_in_{x} {s}_for {s}_of find_in_{x} get_{s} read_from_{x} fetch_from_{x} lookup_{s} look_up_{s} {x}_for recall_{s}", answer("self.X.get(key)"), look(lambda v, k: v[k] if k in v else None), "", ("key",), weight=1),
    Rule("map_remove", ("map",), ("key",), "remove_from_{x} delete_from_{x} drop_from_{x} remove_{s} delete_{s} forget_{s} take_from_{x}",
         "    entries = dict(self.X)\n    entries.pop(key, None)\n    self.X = entries\n" + DONE, put(lambda v, k: {n: i for n, i in v.items() if n != k}), "", ("key",), weight=.8),
    Rule("map_has", ("map",), ("key",), "has_in_{x} is_in_{x} contains_in_{x} has_{s} {x}_contains {x}_has in_{x} contains_{s}", answer("key in self.X"), look(lambda v, k: k in list(v)), "", ("key",), weight=.6),
    Rule("map_clear", ("map",), (), "clear_{x} empty_{x} reset_{x} wipe_{x} clear_the_{x} erase_{x}", assign("{}"), put(lambda v: {}), weight=.5),
    Rule("length", ("map",), (), "count_of_{x} number_of_{x} how_many_{x} {x}_count {s}_count count_{x} num_{x}", answer("len(self.X)"), look(lambda v: sum(1 for _ in v)), weight=.5),
    Rule("map_keys", ("map",), (), "keys_of_{x} {x}_keys list_{x}_keys names_in_{x} show_{x}_keys", answer("list(self.X)"), look(lambda v: [k for k in v]), weight=.5),
    Rule("map_keys", ("map",), (), "values_of_{x} {x}_values values_in_{x}", answer("list(self.X.values())"), look(lambda v: [v[k] for k in v]), weight=.4),
    # A method named as a builtin cannot call that builtin.
    Rule("sum", NUMBERS, (), "", "    total = 0\n    for item in self.X:\n        total = total + item\n    return total\n", look(lambda v: sum(v)), "sum", weight=.7),
    Rule("largest", NUMBERS, (), "", guarded("None", "sorted(self.X)[-1]"), look(lambda v: max(v) if v else None), "max", weight=.5),
    Rule("smallest", NUMBERS, (), "", guarded("None", "sorted(self.X)[0]"), look(lambda v: min(v) if v else None), "min", weight=.5),
    Rule("describe_slot", ("text", "int", "float", "bool") + LISTS, (), "describe_{x} describe_the_{x} explain_{x} report_{x} summarize_{x} announce_{x} introduce_{x} {x}_sentence {x}_report",
         answer('f"The X is {self.X}."'), look(lambda v: v), weight=1.2),
]


def phrase_key(phrase):
    """A phrase with singular and plural taken together."""
    return phrase.replace("{s}", "{x}")


def accepted():
    """For each phrase: which kinds fit, each with the numbers of arguments it fits with."""
    table = {}
    for rule in RULES:
        for phrase in rule.phrases:
            for kind in rule.kinds:
                table.setdefault(phrase_key(phrase), {}).setdefault(kind, {}).setdefault(len(rule.arguments), set()).add(rule.body + str(rule.params))
    return table


ACCEPTED = accepted()
CLASHES = [(p, k, n) for p, kinds in ACCEPTED.items() for k, counts in kinds.items() for n, bodies in counts.items() if len(bodies) > 1]
BARE_KINDS = {}
for _rule in RULES:
    for _phrase in _rule.bare:
        BARE_KINDS.setdefault((_phrase, len(_rule.arguments)), set()).update(_rule.kinds)
if __name__ == "__main__":
    print(len(RULES), "rules", sum(len(r.phrases) + len(r.bare) for r in RULES), "phrases; clashes:", CLASHES)

"""Cases that are to be refused although a wish tells of them: what no slot gives, what lies outside, what could mean two things."""

import re

import names
import place as places
import scenario as scenarios
import vocabulary
import written
from values import of_image
from values import written as in_notation
from wishes import Case, Rejected, image_kind, slots_of_others
from world import World

OUTSIDE = (
    "Send {x} by mail to the given address.|Mail {x} to somebody.|Post {x} on a web page.|Read the page at the given address and keep its text.|Download {t} from the network.|Fetch {t} from the given address.|"
    "Open a connection to the given host and send {x} to it.|Write {x} to a file on the disk.|Read {t} from the given file.|Delete every file in the given folder.|Save {x} to the disk as a file.|Load {t} out of the folder.|"
    "Print {x} on paper.|Print {x} on the printer in the hall.|Show {x} on the screen of the phone.|Play {x} over the loudspeaker.|Take a picture with the camera.|Call {p} on the telephone.|Ring {p} up and read {x} out.|"
    "Answer what the weather is in {p}'s town.|Answer tomorrow's temperature in the given city.|Answer how many people live in the given country.|Answer who wins the next election.|Tell what {p} thinks of {x}.|Answer the price of {t} on the market now.|"
    "Answer {x} in French.|Translate {x} into Latin.|Say {x} in the given language.|Answer a joke about {x}.|Write a poem about {t}.|Guess what {p} will do next.|Answer the meaning of {x}.|Answer a random number.|Roll a die and answer what it shows.|"
    "Execute the given command.|Start the given program.|Stop the machine.|Restart the server.|Answer the password of the user.|Read the secret key of the machine.|Look into the memory of another process.|Answer the name of the computer.|"
    "Wait for an hour.|Sleep until tomorrow.|Walk to {t}.|Open the real door.|Paint the wall of the house.|Cook {t}.|Drive to the given town.|Fly to the moon.|Make {p} happy.|Change the past.|Move {t} in the world outside.|"
    "Buy {t} in the shop.|Order {t} from the seller in the next town.|Pay {p} by card.|Answer the phone number of {p}.|Look {p} up in the register of the town.|Search the web for {x}.|Answer what is written on the given page of the web."
).split("|")
ODD = ("send_mail post_online download read_page open_file write_file save_to_disk print_out take_picture call_by_phone tell_weather translate guess roll_die run_command start_program stop_machine read_password wait_long walk_there cook_meal "
       "drive_away fly_off buy_more order_online pay_by_card search_web look_up_outside ask_someone tell_future copy_files connect_to_host").split()
CONTRADICTION = "the examples contradict each other"
# Of the refusals so many are of scenarios.
TOLD = 0.45
VAGUE = {
    "num": ("Raise it.|Add the given number.|Make it more.|Lower it.|Add one.|Count up.|Take one off.|Set it to the given number.|Double it.|Change it by so much.|Answer it.|Reset it.", "lower increase_it add_one count_on double_it set_it change_by reset_it tell_it make_more take_off"),
    "texts": ("Put it at the end.|Add the given text to the list.|Sort it.|Empty it.|Answer how many there are.|Take the first away.|Take the given one out.|Answer the last.|Turn it around.|Join them.", "put_in add_entry sort_it empty_it tell_count drop_first take_out tell_last turn_around join_them"),
    "nums": ("Answer the sum.|Answer the average.|Answer the largest.|Sort them.|Add it up.|Answer the smallest.|Put the given number last.|Answer how many there are.", "tell_sum tell_average tell_largest sort_them add_up tell_smallest put_in tell_count"),
    "bool": ("Turn it on.|Turn it off.|Switch it over.|Answer whether it is so.|Make it true.|Change its state.", "turn_it_on turn_it_off switch_over is_it_so make_true change_state"),
    "text": ("Answer it in capitals.|Change it to the given text.|Answer its length.|Cut it.|Turn it around.|Empty it.", "tell_in_capitals change_to tell_length cut_it turn_it empty_it"),
    "": ("Do it.|Do something with it.|Handle it.|Go on.|Make it right.|Compare.|Do what is needed.|Answer.|Do the rest.|Answer whether it is better.|Put it there.|Take it.|Work on the data.|Improve it.|Fix everything.", "do_it handle go_on make_right compare_it do_needed answer_it do_rest is_better put_there take_it work_on improve fix_all"),
}


def refusal(drawer):
    """A case that is to be refused."""
    rng = drawer.rng
    if rng.random() < TOLD and scenarios.load(drawer.held, refused=True):
        return told(drawer, rng.choice(scenarios.load(drawer.held, refused=True)))
    chance = rng.random()
    if chance < 0.36:
        return absent(drawer)
    if chance < 0.5:
        return misfit(drawer)
    if chance < 0.66:
        return outside(drawer)
    if chance < 0.82:
        return vague(drawer)
    return twin(drawer) if chance < 0.97 else contradiction(drawer)


def examples(rng, case):
    """What examples of something that cannot be done look like."""
    arguments = "(" + ", ".join(in_notation(of_image(rng, kind)) if kind != "ref" else '"@1"' for kind in case.arguments) + ") -> "
    chance = rng.random()
    if chance < 0.12:
        return []
    # At times the answer that is wished for, as somebody writes it who does not know that it cannot be.
    answer = "!" if chance < 0.75 or not case.examples else case.examples[0].rpartition(" -> ")[2]
    return [(given(rng, case) if rng.random() < 0.7 else "") + arguments + answer]


def given(rng, case):
    """What an example gives of all slots."""
    told = [f"{name}={in_notation(of_image(rng, kind))}" for name, _, kind in (slot.partition(":") for slot in case.slots) if kind not in ("method", "ref", "bytes")]
    text = " ".join(told) + " " if told else ""
    return text if len(text) < 170 else ""


def refused(case, reason):
    """The case with a reason in the place of a method."""
    case.refusal, case.family = f"{reason} {case.selector}", "refuse"
    return case


def absent(drawer):
    """A slot that the sentence tells of is not there."""
    rng = drawer.rng
    case = drawer.attempt(rng.choice(("reading", "change", "guarded", "reading", "two", "written", "written", "written", "written")))
    if case.others:
        raise Rejected("other objects")
    used = [slot for slot in case.slots if re.search(rf"self\.{slot.partition(':')[0]}\b", case.source)]
    if case.family == "written":  # what it tells of in other words another slot may well mean
        called = {slot.path for slot in case.named}
        used = [slot for slot in used if slot.partition(":")[0] in called]
    if not used:
        raise Rejected("no slot is used")
    gone = rng.choice(used)
    case.slots = [slot for slot in case.slots if slot != gone]
    parts = set(gone.partition(":")[0].split("_")) | {vocabulary.singular(word) for word in gone.partition(":")[0].split("_")}
    if any(parts & {vocabulary.singular(word), word} for slot in case.slots if not slot.endswith("method") for word in slot.partition(":")[0].split("_")):
        raise Rejected("a slot of a like name is there")
    if rng.random() < 0.75:  # another of the same kind, so that kinds alone tell nothing
        words, _ = drawer.world.fresh({"int": "num", "float": "num", "text": "text", "bool": "bool", "list[text]": "texts", "map": "map"}.get(gone.partition(":")[2], "nums"))
        case.slots.insert(rng.randrange(len(case.slots) + 1), "_".join(words) + ":" + gone.partition(":")[2])
    case.examples = examples(rng, case)
    return refused(case, "no slot fits")


def misfit(drawer):
    """The slot is there, but of a kind that this cannot be done with."""
    rng = drawer.rng
    case = drawer.attempt(rng.choice(("reading", "change")))
    if case.others or case.family not in ("num", "list", "filter", "change", "map", "date") or not case.method.rows:
        raise Rejected("kinds that say little")
    used = [slot for slot in case.slots if re.search(rf"self\.{slot.partition(':')[0]}\b", case.source)]
    if len(used) != 1 or re.search(r"= (number|text|values|None)$", case.source, re.M) or re.fullmatch(r"def .*\n    return self\.\w+\n", case.source):
        raise Rejected("a kind that fits all")
    name, _, kind = used[0].partition(":")
    other = {"int": ("text", "bool", "list[text]", "none"), "float": ("text", "bool", "map"), "text": ("int", "bool", "none", "float"), "map": ("int", "text", "bool")}.get(kind, ("int", "bool", "text", "none", "float") if kind.startswith("list") else ())
    if not other or "len(" in case.source or "str(" in case.source or "f\"" in case.source or "==" in case.source:
        raise Rejected("a kind that fits all")
    case.slots[case.slots.index(used[0])] = f"{name}:{rng.choice(other)}"
    case.examples = examples(rng, case)
    return refused(case, "no slot fits")


def told(drawer, scenario):
    """A wish in people's words that cannot be carried out."""
    rng = drawer.rng
    drawer.world = world = written.WrittenWorld(rng, scenario, rng.choice(scenario.wishes), drawer.held)
    selector = rng.choice(scenario.selectors)
    if any(slot.path == selector for slot in world.slots):
        raise Rejected("a slot of the message's name")
    state = world.draw()
    case = in_world(drawer, state, selector, written.told(world), [image_kind(value) for value in state.arguments])
    case.examples = examples(rng, case)
    case.refusal = scenarios.REFUSALS[scenario.refusal].format(selector)
    return case


def bare(drawer, kinds, selector, wish, arguments=()):
    """A case of a wish of its own, with slots of the given kinds."""
    drawer.world = world = World(drawer.rng, drawer.held)
    for kind in kinds:
        world.slot(kind)
    return in_world(drawer, world.draw(), selector, wish, arguments)


def in_world(drawer, state, selector, wish, arguments):
    """A case of a wish in the drawer's world, with the slots as a state has them; examples and refusal are still to come."""
    rng = drawer.rng
    slots = [f"{slot.path}:{image_kind(state[slot.path])}" for slot in drawer.world.slots]
    rng.shuffle(slots)
    return Case(family="refuse", selector=selector, arguments=list(arguments), slots=slots, others=slots_of_others(drawer.world, state, slots), wish=wish, examples=[], source=None, refusal="", receiver=f"#{rng.randint(1, 9999)}", parents=drawer.parents())


def argument_for(rng, wish):
    """The kinds of the arguments of a sentence, and their text in an example."""
    if "given number" in wish or "by so much" in wish:
        value = str(rng.randint(1, 20))
        return ["int"], f"({value}) -> !"
    if "given" in wish:
        return ["text"], f'("{rng.choice(vocabulary.WORDS_OF_TEXTS)}") -> !'
    return [], "() -> !"


def outside(drawer):
    """What lies outside the image."""
    rng = drawer.rng
    kinds = [rng.choice(("text", "num", "texts", "nums", "bool", "map")) for _ in range(rng.randint(1, 4))]
    case = bare(drawer, kinds, rng.choice(ODD), "")
    slot = rng.choice(drawer.world.slots)
    case.wish = rng.choice(OUTSIDE).format(x=f"the {slot.bare()}", t=f"the {rng.choice(vocabulary.THINGS)}", p=rng.choice(vocabulary.PEOPLE))
    case.arguments, example = argument_for(rng, case.wish)
    if rng.random() < 0.5:
        case.selector = "_".join([word for word in re.findall(r"[a-z]+", case.wish.lower()) if word not in ("the", "a", "to", "at", "of", "and", "in", "on", "by", "is", "its", "it")][:rng.choice((2, 3, 4))])
    case.examples = [(given(rng, case) if rng.random() < 0.7 else "") + example] if rng.random() < 0.85 else []
    if case.selector in names.BARRED or not case.selector:
        raise Rejected("no selector")
    case.refusal = f"nothing in the image does {case.selector}"
    return case


def vague(drawer):
    """What could be done with two slots as well, or with none."""
    rng = drawer.rng
    kind = rng.choice(list(VAGUE))
    wishes, selectors = VAGUE[kind]
    kinds = [kind] * rng.choice((2, 2, 3)) if kind else [rng.choice(("text", "num", "texts", "bool")) for _ in range(rng.randint(1, 4))]
    kinds += [other for other in rng.sample(("text", "num", "bool", "texts"), rng.choice((0, 0, 1))) if other != kind and {other, kind} != {"nums", "texts"}]
    case = bare(drawer, kinds, rng.choice(selectors.split()), rng.choice(wishes.split("|")))
    case.arguments, example = argument_for(rng, case.wish)
    case.examples = [(given(rng, case) if rng.random() < 0.7 else "") + example] if rng.random() < 0.88 else []
    case.refusal = f"more than one slot fits {case.selector}" if kind else f"the wish does not say what {case.selector} is to do"
    return case


def twin(drawer):
    """A part of a name that two slots have."""
    rng = drawer.rng
    case = drawer.attempt(rng.choice(("reading", "change")))
    short = [slot for slot in drawer.world.slots if slot.short and re.search(rf"self\.{slot.path}\b", case.source)]
    if not short or case.others:
        raise Rejected("no name in short")
    slot = short[0]
    words = [next(word for word in rng.sample(vocabulary.QUALITIES + vocabulary.THINGS, 20) if word not in slot.words), slot.words[-1]]
    if not places.usable(words) or set(slot.words[:-1]) & set(case.selector.split("_")):
        raise Rejected("the selector tells which")
    kind = next(entry.partition(":")[2] for entry in case.slots if entry.startswith(slot.path + ":"))
    case.slots.insert(rng.randrange(len(case.slots) + 1), "_".join(words) + ":" + kind)
    case.examples = examples(rng, case)[:1] if case.examples else []
    if case.examples and not case.examples[0].endswith("!"):
        case.examples = []  # what it should answer would tell which
    return refused(case, "more than one slot fits")


def contradiction(drawer):
    """Two examples of the same message that do not agree."""
    rng = drawer.rng
    case = drawer.attempt("reading")
    if not case.examples or case.examples[0].endswith("!"):
        raise Rejected("no example to contradict")
    head, _, answer = case.examples[0].partition(" -> ")
    other = {"true": "false", "false": "true"}.get(answer) or (str(int(answer) + rng.choice((-2, 1, 3))) if re.fullmatch(r"-?\d+", answer) else None)
    if other is None:
        raise Rejected("an answer of another kind")
    case.examples = [case.examples[0], f"{head} -> {other}"]
    case.refusal, case.family = CONTRADICTION, "refuse"
    return case

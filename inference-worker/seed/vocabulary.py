"""Words of which people make names: things, measures, properties, deeds.

Every list drops what the test part of DNU-Bench is about; lists that names of slots are made of drop the held-out words, too.
"""

import barred
import names


def said(text):
    """The words of a text that may stand in a sentence."""
    return [word for word in dict.fromkeys(text.split()) if not barred.is_name_barred(word)]


def pool(text):
    """The words of a text that may stand in the name of a slot."""
    return [word for word in said(text) if not names.held_out(word)]


THINGS = pool(
    "river tower engine garden harbour ticket parcel window barrel kettle bridge tunnel candle ladder basket bucket cabin camera carpet castle "
    "cellar chain chapel chimney clock coach coin corner cottage cradle crane crate curtain desk diary dock drawer drum elevator factory farm fence "
    "ferry field filter flag flask flute forest fountain furnace gallery garage gate glacier guitar hammer hangar hotel island jacket journal kitchen "
    "lake lamp lantern library lock locker machine magnet mailbox manor market medal meadow mill mine mirror motor museum needle net oar orchard "
    "organ oven palace panel parade park path pedal pen piano pier pillow pipe planet plank platform pond pool port press pump puppet quilt radio "
    "railway ramp reactor record reservoir ring road robot rocket roof rope saddle satellite school screen server shelf shield ship shop signal "
    "sledge spring stable stadium stage statue stove stream studio suitcase swamp switchboard table tank tavern telescope temple tent theatre tile "
    "torch tractor trail train tram tree trumpet turbine umbrella valley van vault vessel village violin wagon wall warehouse watch well wheel "
    "winch windmill workshop yard zoo alarm antenna apron arrow badge balcony ball banner beacon bell bench bicycle blanket boat boiler book boot "
    "bottle bowl box brush bus button cable cage cake canal canoe card cart chair channel chest circuit class cloak club coat column compass "
    "concert container contract counter court cow cup dam deck dish door drone duck exam exhibit expedition film fleet flight flock flower "
    "folder fridge game glider globe group guard guest hall harvest heater herd hive horse house hull hut invoice jar kiln kite knife lesson letter "
    "lift line list loaf loan log lorry map mast meal meter mission model mountain music nest note novel oak office oil order page paint paper part "
    "patient pet phone photo plan plant plate player poem pole price prize project pupil queue race rain report rider robe room route row sail "
    "sample sand scale seat seed session sheep shift shirt shoe show sign skill sky song soup station step stock stone store storm story string "
    "student sun survey team test text tool tour town toy track trade trip truck tube unit user vase visit volcano voyage vote wave web week "
    "wheat whale wind wine wing wire wolf wood word worker year beam bean berry bird blade block board bolt bone branch bread brick bulb camp cat "
    "chef circus cliff cloud coast cook copper cotton crew crop crystal desert diver doctor dog dragon driver eagle egg farmer finger fish floor fork "
    "fox frame frog fruit glass goat grain grape hill honey hook ice insect iron juice key king lemon lion mason metal milk moon mouse nail nurse "
    "onion owl pearl pilot potato queen rabbit sailor salt ski snow soil spider star sugar swan tailor tea tiger tomato tooth turtle wool worm"
)
MEASURES = pool(
    "level height width depth length weight speed pressure temperature distance size price cost fee total balance score rank age share rate "
    "volume power charge angle load heat strength budget amount stock debt fuel credit mileage brightness capacity pace wage rent tax discount bonus "
    "offset limit target quota mark reading value threshold minimum maximum duration delay rating position grade density dose humidity altitude "
    "tension torque frequency loudness thickness radius area mass energy income profit loss tally sum number count score stake deposit pulse tide"
)
TALLIES = pool(
    "visitors laps goals points steps coins guests votes seats tickets errors wins losses rounds meals miles pages bottles eggs fish sheep books "
    "trips calls visits orders repairs passengers stamps tokens lives tries moves bells doors boxes crates sales strikes clicks jumps dives parcels "
    "letters apples loaves cups plates bricks nails tiles plants trees flowers birds horses players pupils workers members hours days minutes weeks"
)
PARTICIPLES = pool(
    "sold run used done made read written paid served eaten baked lost found seen won played planted picked printed sent stored counted cleaned "
    "climbed walked flown driven earned spent saved owed booked taken given kept built repaired painted mended filled drawn sung watched heard loaded "
    "shipped packed opened closed tested passed failed missed caught hired rented cut sewn poured brewed washed fed milked sorted noted left"
)
STATES = pool(
    "open locked lit running armed raised lowered sealed frozen heated clean dirty busy empty full paid signed active enabled visible hidden broken "
    "ready awake asleep hungry tired loaded charged broken burning glowing flooded covered folded painted polished rented sold reserved booked "
    "closed cooling dry wet bright quiet loud safe charged connected online public private valid approved cancelled delivered finished started "
    "paused moving spinning ringing blinking warm cold fresh ripe alive married famous licensed insured mounted anchored docked flying parked tuned"
)
QUALITIES = pool(
    "upper lower left right front rear inner outer first second third last next former early late morning evening daily weekly monthly yearly "
    "small large long short high low deep old new young main spare extra total local foreign north south east west red green blue white black "
    "golden silver wooden open closed free hidden secret public private final current older newest average least most best worst fastest cheap "
    "heavy light warm cold wet dry summer winter spring autumn night day half double single common rare royal plain bright dark soft hard gross net"
)
TEXTS = pool(
    "name title label colour city street country motto status message note address owner keeper author brand role species topic comment "
    "description greeting caption mood language flavour material shape style code password phrase word line remark sign nickname surname slogan "
    "headline verse letter category section phase stage state season weather direction track tune kind grade origin destination captain driver "
    "winner leader singer sender editor speaker host chef tenant pilot heading summary subject password phrase initials plate badge tag"
)
UNITS = pool("cm mm km metres kilos grams tons litres miles feet inches yards cents euros dollars hours minutes seconds days weeks degrees percent watts volts points pages")
DATES = pool("day date birthday deadline start end departure arrival holiday due delivery opening closing payday launch harvest expiry visit")
CLOCKS = pool("clock time hour opening closing departure arrival start end alarm")
GROUPS = pool("shed crew fleet club team shelf board ward circle guild choir band society troop depot station")
VERBS = said(
    "note keep take give put move send call check open close start stop fill empty load unload serve draw pick sell buy pay charge drain pour lift "
    "lower raise turn push pull wind light dim paint mend clean wash feed water cut trim pack ship post stamp sign mark tag log enter leave join "
    "visit climb ride drive sail fly walk rest wake sleep work play win lose trade swap lend borrow rent book cancel order deliver collect gather "
    "sort count weigh measure test try pass fail grade score rank rate judge choose name hire train teach learn read write tell ask answer show hide "
    "hang drop catch throw hold carry bring fetch store save spend earn owe settle refund reward punish greet welcome invite dismiss admit refuse "
    "accept approve reject promote punch clip press release lock unlock arm disarm heat cool freeze melt boil bake cook brew mix stir taste eat drink"
)
MATTERS = said("it them this that one next again now today more some up down on off out in back over round once here there")
PEOPLE = said("Ada Bo Cleo Dan Eva Finn Gina Hugo Iris Jan Kira Leo Mia Nils Olga Paul Quin Rosa Sven Tara Ulla Vera Walt Xenia Yuri Zoe Anna Ben Carl Dora Emil Fritz")
WORDS_OF_TEXTS = said("blue sky red fox tea cup late oak old sea fog mint lime plum fig corn rye salt ash elm ivy bay sun rain pine rose jade gold iron clay silk wax chalk north south")

IRREGULAR = {"mouse": "mice", "tooth": "teeth", "wolf": "wolves", "shelf": "shelves", "loaf": "loaves", "knife": "knives", "sheep": "sheep", "fish": "fish", "life": "lives"}


def plural(word):
    """The plural as English has it."""
    if word in IRREGULAR:
        return IRREGULAR[word]
    return word + "es" if word.endswith(("ch", "sh", "x", "ss", "z")) else names.plural(word)


_SINGULAR = {plural(word): word for word in (*THINGS, *MEASURES, *TEXTS, *DATES, *CLOCKS, *GROUPS)}


def singular(word):
    """The singular of a word that may be a plural."""
    if word in _SINGULAR:
        return _SINGULAR[word]
    return word[:-2] if word.endswith(("ches", "shes", "xes", "sses", "zzes")) else names.singular(word)

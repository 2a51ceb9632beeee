"""The table of what can be read: numbers, truth values, lists, maps, texts and days out of slots, arguments and one another."""

import math

from expression import Row

E = Row
DAY = "datetime.datetime.fromisoformat({%s})"


def ordinal(text):
    """The number of a day, by counting; written apart from datetime."""
    year, month, day = (int(part) for part in text.split("-"))
    if month < 3:
        year, month = year - 1, month + 12
    return 365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + day


def civil(number):
    """The text of the day of a number."""
    year = number // 366
    while ordinal(f"{year + 1:04}-01-01") <= number:
        year += 1
    month = 12
    while ordinal(f"{year:04}-{month:02}-01") > number:
        month -= 1
    return f"{year:04}-{month:02}-{number - ordinal(f'{year:04}-{month:02}-01') + 1:02}"


def minutes(clock):
    """The minutes of a time of day such as 07:05."""
    hour, minute = clock.split(":")
    return int(hour) * 60 + int(minute)


def product(values):
    """The product of numbers."""
    made = 1
    for value in values:
        made = value * made
    return made


NUMBERS = [
    E("num", "{a:5} + {b:6}", "the sum of {a} and {b}|{a} plus {b}|{a} and {b} together|{a} with {b} added|what {a} and {b} make together", "a!num b:num", lambda a, b: b + a, 5, weight=2),
    E("num", "{a:5} - {b:6}", "{a} less {b}|{a} minus {b}|the difference between {a} and {b}|how much is left of {a} after {b}|{a} without {b}|what remains of {a} when {b} is taken off|how much more {a} {a:are} than {b}", "a:num b:num", lambda a, b: -(b - a), 5, weight=2.4),
    E("num", "{a:6} * {b:7}", "{a} times {b}|the product of {a} and {b}|{a} multiplied by {b}|{b} times {a}", "a!num b:num", lambda a, b: b * a, 6, weight=2),
    E("num", "{a:6} / {b:7}", "{a} divided by {b}|the quotient of {a} and {b}|how much of {a} falls to each of {b}|{a} for each of {b}", "a!num b!num", lambda a, b: a / b, 6, need="b", weight=1.4),
    E("num", "{a:6} // {b:7}", "how many whole {b} fit into {a}|{a} divided by {b}, without the rest|the whole part of {a} divided by {b}|how often {b} goes into {a} whole", "a!whole b:whole1", lambda a, b: math.floor(a / b), 6, need="b", weight=1.2),
    E("num", "{a:6} % {b:7}", "what is left over when {a} {a:are} divided by {b}|the rest of {a} divided by {b}|the remainder of {a} by {b}|how much of {a} does not fill {b}", "a!whole b:whole1", lambda a, b: a - b * math.floor(a / b), 6, need="b", weight=1.2),
    E("num", "-(-{a:7} // {b:7})", "how many {b} are needed for {a}, a begun one counting|{a} divided by {b}, rounded up|how many lots of {b} it takes to hold {a}", "a!whole b:whole1", lambda a, b: math.ceil(a / b), 7, need="b", weight=1),
    E("num", "{a:6} * {b:7} / 100", "{b} per cent of {a}|what {b} per cent of {a} are|{b} hundredths of {a}", "a!num b:num", lambda a, b: a * b / 100, 6, weight=1.2),
    E("num", "{a:6} * (100 + {b:6}) / 100", "{a} with {b} per cent on top|{a} raised by {b} per cent|{a} plus {b} per cent", "a!num b:num", lambda a, b: (100 + b) * a / 100, 6, weight=1),
    E("num", "{a:6} * (100 - {b:6}) / 100", "{a} less {b} per cent|{a} lowered by {b} per cent|{a} with {b} per cent off|{a} after {b} per cent off", "a!num b:num", lambda a, b: (100 - b) * a / 100, 6, weight=1),
    E("num", "{a:6} * 100 / {b:7}", "what per cent of {b} {a} {a:are}|{a} in per cent of {b}|how many per cent {a} {a:are} of {b}|the share of {a} in {b} in per cent", "a!num b!num", lambda a, b: a * 100 / b, 6, need="b", weight=1.4),
    E("num", "abs({a} - {b:6})", "how far {a} {a:are} from {b}|the distance between {a} and {b}, never below zero|the difference of {a} and {b} without its sign|how far apart {a} and {b} lie", "a!num b:num", lambda a, b: b - a if b > a else a - b, weight=1.4),
    E("num", "abs({a})", "{a} without its sign|the absolute value of {a}|the size of {a}, whatever its sign", "a!num", lambda a: -a if a < 0 else a, weight=0.6),
    E("num", "max({a}, {b})", "the larger of {a} and {b}|the greater of {a} and {b}|whichever is more, {a} or {b}|{a}, but at least {b}", "a!num b:num", lambda a, b: a if a >= b else b, weight=1.2),
    E("num", "min({a}, {b})", "the smaller of {a} and {b}|the lesser of {a} and {b}|whichever is less, {a} or {b}|{a}, but at most {b}", "a!num b:num", lambda a, b: a if a <= b else b, weight=1.2),
    E("num", "max({a}, {b}, {c})", "the largest of {a}, {b} and {c}|the most of {a}, {b} and {c}", "a!num b!num c!num", lambda a, b, c: sorted((a, b, c))[2], weight=0.6),
    E("num", "min({a}, {b}, {c})", "the smallest of {a}, {b} and {c}|the least of {a}, {b} and {c}", "a!num b!num c!num", lambda a, b, c: sorted((a, b, c))[0], weight=0.5),
    E("num", "{a:5} + {b:6} + {c:6}", "{a}, {b} and {c} together|the sum of {a}, {b} and {c}|{a} plus {b} plus {c}|the total of {a}, {b} and {c}", "a!num b!num c:num", lambda a, b, c: a + (b + c) if not isinstance(a, float) else a + b + c, 5, weight=1),
    E("num", "({a} + {b:6}) / 2", "the middle between {a} and {b}|the mean of {a} and {b}|the average of {a} and {b}|half of {a} and {b} together", "a!num b:num", lambda a, b: (b + a) / 2, 6, weight=0.8),
    E("num", "{a:6} * {a:6}", "the square of {a}|{a} squared|{a} times itself", "a!num", lambda a: a ** 2, 6, weight=0.6),
    E("num", "{a:6} * {b:7}", "{a} in {w}, {b} to the {v}|each of {a} is {b} {w}: how many {w} that makes|{a} turned into {w} at {b} each", "a!num b#factor", lambda a, b: b * a, 6, weight=1.4, unit=True),
    E("num", "{a:6} / {b:7}", "{a} in {w}, {b} of them to one|how many {w} {a} {a:are}, at {b} to one {v}|{a} turned into {w}, {b} to the {w}", "a!num b#factor", lambda a, b: a / b, 6, weight=1, unit=True),
    E("num", "{a:6} * 9 / 5 + 32", "{a} in degrees Fahrenheit|the Celsius degrees of {a} in Fahrenheit|{a}, turned from Celsius into Fahrenheit", "a!num", lambda a: a * 9 / 5 + 32, 5, weight=0.3),
    E("num", "({a} - 32) * 5 / 9", "{a} in degrees Celsius|{a}, turned from Fahrenheit into Celsius|the Fahrenheit degrees of {a} in Celsius", "a!num", lambda a: (a - 32) * 5 / 9, 6, weight=0.3),
    E("num", "round({a})", "{a}, rounded to a whole number|{a} rounded|the whole number nearest to {a}|{a} to the nearest whole number", "a:frac", lambda a: int(format(a, ".0f")), weight=1),
    E("num", "round({a}, {b})", "{a}, rounded to {b} digits after the point|{a} with {b} digits after the point|{a} rounded to {b} places", "a:frac b#digits", lambda a, b: float(format(a, f".{b}f")), weight=0.9),
    E("num", "len({a})", "how many characters {a} {a:has}|the length of {a}|how long {a} {a:are}|the number of characters of {a}|how many signs {a} {a:has}", "a!text", lambda a: sum(1 for _ in a), weight=1.2),
    E("num", "len({a}.split())", "how many words {a} {a:has}|the number of words in {a}|the count of words of {a}|of how many words {a} consist{a:s}", "a!text", lambda a: len([w for w in a.replace("\n", " ").split(" ") if w]), weight=1),
    E("num", "{a}.count({b})", "how often {b} stands in {a}|how many times {a} {a:has} {b}|the number of times that {b} occurs in {a}|how often {a} contain{a:s} {b}", "a!text b:text1", lambda a, b: len(a.split(b)) - 1 if b else len(a) + 1, weight=0.8),
    E("num", "len({a})", "how many {a:b} there are|the number of {a:b}|how many {a:b} it has|the count of {a:b}|how many there are of {a}|how many entries {a} {a:has}", "a!items", lambda a: sum(1 for _ in a), weight=1.6),
    E("num", "len({a})", "how many entries {a} {a:has}|how many keys {a} {a:has}|the number of entries of {a}|for how many keys there are {a:b}", "a!map", lambda a: sum(1 for _ in a), weight=0.8),
    E("num", "len({a})", "how many of them there are: {a}|the number of {a}|the count of {a}|how many are {a}", "a:found", lambda a: sum(1 for _ in a), weight=0.1),
    E("num", "len(set({a}))", "how many different {a:b} there are|the number of different {a:b}|how many distinct {a:b} it has|how many {a:b} there are, equal ones counted once", "a!scalars", lambda a: len({v: 0 for v in a}), weight=0.8),
    E("num", "{a}.count({b})", "how often {b} is among {a}|how many of {a} are {b}|the number of times that {b} stands in {a}|how many of {a} equal {b}|how many times {b} occurs in {a}", "a!scalars b:element", lambda a, b: sum(1 for v in a if v == b), weight=1.3),
    E("num", "sum({a})", "the sum of {a}|the total of {a}|all {a:b} together|{a} added up|what {a} come to together|the sum of all {a:b}|how much {a} make in all", "a!nums", lambda a: sum(a[::-1]) if all(isinstance(v, int) for v in a) else sum(a), weight=2),
    E("num", "sum({a})", "the sum of {a}|the total of {a}|{a} added up|{a} together|what {a} come to in all", "a:iter", lambda a: sum(list(a)), weight=1.6),
    E("num", "max({a})", "the largest of {a}|the largest {a:1}|the highest {a:1}|the highest of {a}|the greatest {a:1}|the most of {a}|the top {a:1}|the biggest of {a}", "a!nums", lambda a: sorted(a)[-1], need="a", weight=1.5),
    E("num", "min({a})", "the smallest of {a}|the smallest {a:1}|the lowest {a:1}|the lowest of {a}|the least of {a}|the least {a:1}", "a!nums", lambda a: sorted(a)[0], need="a", weight=1.5),
    E("num", "max({a})", "the largest of {a}|the highest of {a}|the greatest of {a}", "a:iter", lambda a: sorted(a)[-1], need="a", weight=1),
    E("num", "min({a})", "the smallest of {a}|the lowest of {a}|the least of {a}", "a:iter", lambda a: sorted(a)[0], need="a", weight=1),
    E("num", "sum({a}) / len({a})", "the average of {a}|the mean of {a}|the average {a:1}|the mean {a:1}|what {a} are on average", "a!nums", lambda a: sum(a) / len(a), 6, need="a", weight=1.7),
    E("num", "sum({a}) / len({a})", "the average of {a}|the mean of {a}", "a:iter", lambda a: sum(a) / len(a), 6, need="a", weight=0.9),
    E("num", "max({a}) - min({a})", "how far the largest of {a} lies above the smallest|the largest of {a} less the smallest|how far apart the smallest and the largest {a:1} lie|the span of {a}|the range of {a}, from the lowest to the highest", "a!nums", lambda a: sorted(a)[-1] - sorted(a)[0], 5, need="a", weight=0.8),
    E("num", "math.prod({a})", "the product of {a}|{a} multiplied with one another|all {a:b} multiplied", "a!wholes", product, weight=0.4),
    E("num", "sorted({a})[len({a}) // 2]", "the middle one of {a} in order|the {a:1} in the middle when they are sorted", "a!nums", lambda a: sorted(a)[len(a) // 2], need="a", weight=0.3),
    E("num", "{a}.get({b}, 0)", "what stands under {b} in {a}, 0 when nothing does|the {a:1} of {b}, 0 when there is none|the value of {b} in {a}, or 0|how much {a} {a:has} for {b}, 0 for a key that is not there", "a!map b?text", lambda a, b: a[b] if b in a else 0, weight=1.3),
    E("num", "int({a}[:4])", "the year of {a} as a number|in which year {a} lies|the year in {a}|which year {a} belongs to", "a!date", lambda a: int(a.split("-")[0]), weight=1),
    E("num", "int({a}[5:7])", "the month of {a} as a number|in which month {a} lies, from 1 to 12|the number of the month of {a}", "a!date", lambda a: int(a.split("-")[1]), weight=1),
    E("num", "int({a}[8:])", "the day of the month of {a} as a number|which day of its month {a} {a:are}|the number of the day in {a}", "a!date", lambda a: int(a.split("-")[2]), weight=0.8),
    E("num", f"({DAY % 'b'} - {DAY % 'a'}).days", "how many days lie between {a} and {b}|the days from {a} to {b}|how many days it is from {a} to {b}|the number of days between {a} and {b}|how many days after {a} {b} comes", "a!date b:date", lambda a, b: ordinal(b) - ordinal(a), weight=2.2),
    E("num", f"{DAY % 'a'}.weekday()", "the day of the week of {a}, Monday being 0|the weekday of {a} as a number from 0 for Monday|which weekday {a} is, counted from Monday as 0", "a!date", lambda a: (ordinal(a) + 1) % 7, weight=0.9),
    E("num", f"{DAY % 'a'}.isoweekday()", "the day of the week of {a}, from 1 for Monday to 7 for Sunday|the weekday of {a}, Monday being 1", "a!date", lambda a: (ordinal(a) + 1) % 7 + 1, weight=0.5),
    E("num", "int({a}[:2]) * 60 + int({a}[3:])", "{a} in minutes since midnight|how many minutes after midnight {a} {a:are}|the minutes of the day at {a}|the minutes since midnight at {a}", "a!clock", minutes, 5, weight=1.2),
    E("num", "int({a}[:2])", "the hour of {a} as a number|at which full hour {a} lies|the hours in {a}", "a!clock", lambda a: int(a.split(":")[0]), weight=0.6),
    E("num", "{a}.find({b})", "at which place {b} begins in {a}, -1 when it is not there|where {b} stands in {a}, counted from 0, or -1", "a!text b?text", lambda a, b: next((i for i in range(len(a) - len(b) + 1) if a[i:i + len(b)] == b), -1), weight=0.3),
    E("num", "math.gcd({a}, {b})", "the largest whole number that divides {a} and {b}|the greatest common divisor of {a} and {b}", "a!whole b:whole", math.gcd, weight=0.3),
    E("num", "{a:8} ** {b:8}", "{a} to the power of {b}|{a} multiplied with itself {b} times over", "a!small b#small", lambda a, b: math.prod([a] * b), 7, weight=0.3),
    E("num", "math.floor({a})", "{a} rounded down|{a} without its part after the point, downwards", "a:frac", lambda a: int(a // 1), weight=0.4),
    E("num", "math.ceil({a})", "{a} rounded up|the next whole number from {a} up", "a:frac", lambda a: int(-(-a // 1)), weight=0.4),
]

TRUTHS = [
    E("bool", "{a:5} > {b:5}", "{a:is} more than {b}|{a:is} above {b}|{a:is} greater than {b}|{a:is} larger than {b}|{a:is} over {b}|{a} exceed{a:s} {b}|there is more of {a} than {b}|{a:is} higher than {b}", "a!num b:num", lambda a, b: b < a, 4, weight=3),
    E("bool", "{a:5} < {b:5}", "{a:is} less than {b}|{a:is} below {b}|{a:is} smaller than {b}|{a:is} under {b}|{a:is} lower than {b}|{a} {a:has} not reached {b}|{a} fall{a:s} short of {b}", "a!num b:num", lambda a, b: b > a, 4, weight=3),
    E("bool", "{a:5} >= {b:5}", "{a:is} at least {b}|{a:is} {b} or more|{a:is} not less than {b}|{a} {a:has} reached {b}|{a:is} not below {b}|{a} {a:are} as much as {b} or more", "a!num b:num", lambda a, b: not a < b, 4, weight=2.2),
    E("bool", "{a:5} <= {b:5}", "{a:is} at most {b}|{a:is} {b} or less|{a:is} not more than {b}|{a:is} not above {b}|{a} do{a:es} not exceed {b}|{b} is not exceeded by {a}", "a!num b:num", lambda a, b: not a > b, 4, weight=2.2),
    E("bool", "{a:5} == {b:5}", "{a:is} {b}|{a} equal{a:s} {b}|{a} and {b} are the same|{a:is} exactly {b}|{a} and {b} are equal", "a!any b:same", lambda a, b: not a != b, 4, weight=2),
    E("bool", "{a:5} != {b:5}", "{a:is} not {b}|{a} differ{a:s} from {b}|{a} and {b} are not the same|{a:is} anything but {b}", "a!any b:same", lambda a, b: not a == b, 4, weight=1.2),
    E("bool", "{a}", "{a:state}", "a!bool", lambda a: a, weight=2.6),
    E("bool", "not {a:3}", "{a:unstate}", "a!bool", lambda a: a is False, 3, weight=2.2),
    E("bool", "{a:3} and {b:3}", "both {a:state} and {b:state}|{a:state} and {b:state}|{a:state} and so is {b}", "a!bool b!bool", lambda a, b: all((a, b)), 2, weight=1),
    E("bool", "{a:2} or {b:2}", "{a:state} or {b:state}|at least one holds: {a:state}, {b:state}|either {a:state} or {b:state} or both", "a!bool b!bool", lambda a, b: any((a, b)), 1, weight=1),
    E("bool", "{a:3} and not {b:3}", "{a:state} and {b:unstate}|{a:state} but {b:unstate}", "a!bool b!bool", lambda a, b: a and b is False, 2, weight=0.8),
    E("bool", "{a:3} and {b:4} > {c:5}", "{a:state} and {b:is} more than {c}|{a:state} while {b:is} above {c}", "a!bool b!num c:num", lambda a, b, c: a and c < b, 2, weight=0.7),
    E("bool", "{a:5} == 0", "{a:is} zero|there is nothing left of {a}|{a:is} 0|{a:is} used up", "a!num", lambda a: not a, 4, weight=1.4),
    E("bool", "{a:5} > 0", "{a:is} positive|{a:is} above zero|there is any of {a}|{a:is} more than nothing", "a!num", lambda a: 0 < a, 4, weight=1),
    E("bool", "{a:5} < 0", "{a:is} negative|{a:is} below zero|{a:is} less than nothing", "a!num", lambda a: 0 > a, 4, weight=0.8),
    E("bool", "{a:6} % 2 == 0", "{a:is} even|{a} can be halved into whole numbers|{a:is} an even number", "a!whole", lambda a: a & 1 == 0, 4, weight=0.8),
    E("bool", "{a:6} % 2 == 1", "{a:is} odd|{a:is} an odd number|{a} cannot be halved into whole numbers", "a!whole", lambda a: a & 1 == 1, 4, weight=0.6),
    E("bool", "{a:6} % {b:7} == 0", "{a:is} a multiple of {b}|{a} can be divided by {b} without a rest|{b} goes into {a} without a rest|{a:is} divisible by {b}", "a!whole b:whole1", lambda a, b: a - b * math.floor(a / b) == 0, 4, need="b", weight=1),
    E("bool", "{b:5} <= {a:5} <= {c:5}", "{a} {a:are} between {b} and {c}, both included|{a} lie{a:s} from {b} to {c}|{a:is} neither below {b} nor above {c}|{a:is} within {b} and {c}", "a:num b!num c!num", lambda a, b, c: not (a < b or a > c), 4, weight=1.6),
    E("bool", "{b:5} < {a:5} < {c:5}", "{a} {a:are} strictly between {b} and {c}|{a:is} above {b} and below {c}", "a:num b!num c!num", lambda a, b, c: not (a <= b or a >= c), 4, weight=0.7),
    E("bool", "{a:5} + {b:6} > {c:5}", "{a} and {b} together are more than {c}|{a} plus {b} is above {c}|the sum of {a} and {b} exceeds {c}", "a!num b:num c!num", lambda a, b, c: c < b + a, 4, weight=0.9),
    E("bool", "{b:5} in {a:5}", "{b} is among {a}|{a} contain {b}|{b} is one of {a}|{b} stands in {a}|there is {b} among {a}|{a} include {b}|{b} is in {a} already", "a!scalars b:element", lambda a, b: any(v == b for v in a), 4, weight=2.4),
    E("bool", "{b:5} not in {a:5}", "{b} is not among {a}|{a} do not contain {b}|{b} is none of {a}|{b} is missing from {a}|{b} does not stand in {a}", "a!scalars b:element", lambda a, b: all(v != b for v in a), 4, weight=1.4),
    E("bool", "{b:5} in {a:5}", "{a} {a:has} an entry for {b}|{b} is a key of {a}|there is something under {b} in {a}|{b} is known in {a}|{b} stands in {a}", "a!map b?text", lambda a, b: b in list(a), 4, weight=1.3),
    E("bool", "{b:5} not in {a:5}", "{a} {a:has} no entry for {b}|{b} is no key of {a}|there is nothing under {b} in {a}", "a!map b?text", lambda a, b: b not in list(a), 4, weight=0.7),
    E("bool", "{b:5} in {a:5}", "{a} {a:has} {b} in {a:them}|{b} stands in {a}|{a} contain{a:s} {b}|{b} occurs in {a}", "a!text b:text", lambda a, b: len(a.split(b)) > 1 if b else True, 4, weight=0.9),
    E("bool", "{a}.startswith({b})", "{a} begin{a:s} with {b}|{a} start{a:s} with {b}|the beginning of {a} is {b}|{b} is what {a} begin{a:s} with", "a!text b:text", lambda a, b: a[:len(b)] == b, weight=1.2),
    E("bool", "{a}.endswith({b})", "{a} end{a:s} with {b}|{a} end{a:s} in {b}|the end of {a} is {b}", "a!text b:text", lambda a, b: b == "" or a[-len(b):] == b, weight=1),
    E("bool", "len({a}) > {b:5}", "{a} {a:has} more than {b} characters|{a:is} longer than {b} characters|{a:is} longer than {b} letters", "a!text b:whole", lambda a, b: sum(1 for _ in a) > b, 4, weight=0.8),
    E("bool", "len({a}) == {b:5}", "{a} {a:has} exactly {b} characters|{a:is} {b} characters long|the length of {a} is {b}", "a!text b:whole", lambda a, b: sum(1 for _ in a) == b, 4, weight=0.7),
    E("bool", "{a}.isdigit()", "{a} consist{a:s} of digits alone|{a:is} made of nothing but digits|all characters of {a} are digits", "a!text", lambda a: bool(a) and all(c.isdigit() for c in a), weight=0.6),
    E("bool", "{a}.isupper()", "{a} {a:are} written in capitals|all letters of {a} are capitals", "a!text", lambda a: any(c.isupper() for c in a) and not any(c.islower() for c in a), weight=0.3),
    E("bool", "{a}.lower() == {b}.lower()", "{a} and {b} are the same, capital or small|{a} equal{a:s} {b}, whatever is written in capitals", "a!text b:text", lambda a, b: a.casefold() == b.casefold(), 4, weight=0.6),
    E("bool", "{a} == {a}[::-1]", "{a} read{a:s} the same from behind|{a} read{a:s} the same in both directions|{a:is} a palindrome", "a!text", lambda a: all(a[i] == a[-1 - i] for i in range(len(a))), 4, weight=0.4),
    E("bool", "len({a}) == 0", "there are no {a:b}|{a} are empty|it has no {a:b}|no {a:b} are left|there is nothing among {a}", "a!items", lambda a: not a, 4, weight=1.2),
    E("bool", "len({a}) > 0", "there are any {a:b}|it has {a:b}|{a} are not empty|there is at least one {a:1}", "a!items", lambda a: bool(a), 4, weight=0.8),
    E("bool", "len({a}) >= {b:5}", "there are at least {b} {a:b}|it has {b} {a:b} or more|as many {a:b} are there as {b} or more|{a} are full at {b}", "a!items b:whole", lambda a, b: sum(1 for _ in a) >= b, 4, weight=1.4),
    E("bool", "len({a}) > {b:5}", "there are more than {b} {a:b}|it has more than {b} {a:b}|{a} are more than {b}", "a!items b:whole", lambda a, b: sum(1 for _ in a) > b, 4, weight=1),
    E("bool", "len({a}) < {b:5}", "there are fewer than {b} {a:b}|it has fewer than {b} {a:b}|{a} are fewer than {b}", "a!items b:whole", lambda a, b: sum(1 for _ in a) < b, 4, weight=1),
    E("bool", "len(set({a})) == len({a})", "all {a:b} are different|no {a:1} occurs twice|none of {a} is there twice", "a!scalars", lambda a: all(v not in a[:i] for i, v in enumerate(a)), 4, weight=0.6),
    E("bool", "{a} == sorted({a})", "{a} stand in order|{a} are sorted, the smallest first|{a} are in ascending order", "a!nums", lambda a: all(x <= y for x, y in zip(a, a[1:])), 4, weight=0.5),
    E("bool", "all({a})", "all {a:b} are true|every {a:1} is set|all of {a} hold", "a!flags", lambda a: False not in a, weight=0.9),
    E("bool", "any({a})", "any of {a} is true|at least one {a:1} is set|one of {a} holds", "a!flags", lambda a: True in a, weight=0.8),
    E("bool", "{a:5} < {b:5}", "{a} come{a:s} before {b}|{a} lie{a:s} before {b}|{a:is} earlier than {b}|{b} is later than {a}", "a!date b:date", lambda a, b: ordinal(a) < ordinal(b), 4, weight=1.5),
    E("bool", "{a:5} > {b:5}", "{a} come{a:s} after {b}|{a} lie{a:s} after {b}|{a:is} later than {b}|{b} has passed by {a}", "a!date b:date", lambda a, b: ordinal(a) > ordinal(b), 4, weight=1.2),
    E("bool", "{a}[:4] == {b}[:4]", "{a} and {b} lie in the same year|{a} and {b} belong to one year", "a!date b:date", lambda a, b: a.split("-")[0] == b.split("-")[0], 4, weight=0.6),
    E("bool", "{a}[:7] == {b}[:7]", "{a} and {b} lie in the same month|{a} and {b} belong to one month of one year", "a!date b:date", lambda a, b: a.split("-")[:2] == b.split("-")[:2], 4, weight=0.6),
    E("bool", "{a}[5:] == {b}[5:]", "{a} and {b} fall on the same day of the year|{b} is an anniversary of {a}", "a!date b:date", lambda a, b: a.split("-")[1:] == b.split("-")[1:], 4, weight=0.5),
    E("bool", f"{DAY % 'a'}.weekday() >= 5", "{a} {a:are} at a weekend|{a} fall{a:s} on a Saturday or Sunday", "a!date", lambda a: (ordinal(a) + 1) % 7 > 4, 4, weight=0.6),
    E("bool", "int({a}[:4]) % 4 == 0 and (int({a}[:4]) % 100 != 0 or int({a}[:4]) % 400 == 0)", "the year of {a} is a leap year|{a} lie{a:s} in a leap year", "a!date", lambda a: ordinal(a[:4] + "-03-01") - ordinal(a[:4] + "-02-28") == 2, 2, weight=0.3),
    E("bool", "{a:5} < {b:5}", "{a} come{a:s} before {b}|{a:is} earlier than {b}", "a!clock b:clock", lambda a, b: minutes(a) < minutes(b), 4, weight=0.8),
    E("bool", "{b:5} <= {a:5} < {c:5}", "{a} lie{a:s} from {b} on and before {c}|{a:is} not before {b} but before {c}", "a:clock b!clock c!clock", lambda a, b, c: minutes(b) <= minutes(a) < minutes(c), 4, weight=0.7),
    E("bool", "{a} is None", "there is no {a:b}|{a} {a:are} none|{a:is} not there", "a!ref", lambda a: a is None, 4, weight=0.5),
]

LISTS = [
    E("nums", "sorted({a})", "{a} from smallest to largest|{a} in order|the sorted {a:b}|{a} sorted upwards|{a}, the smallest first|{a} in ascending order", "a!nums", lambda a: sorted(list(a)), weight=1.6),
    E("nums", "sorted({a}, reverse=True)", "{a} from the largest to the smallest|{a}, the largest first|{a} sorted downwards|{a} in descending order", "a!nums", lambda a: sorted(a)[::-1], weight=1),
    E("texts", "sorted({a})", "{a} in alphabetical order|{a} ordered by the alphabet|{a} sorted by the alphabet|the sorted {a:b}|{a} from a to z", "a!texts", lambda a: sorted(list(a)), weight=1.4),
    E("texts", "sorted({a}, key=len)", "{a} from the shortest to the longest|{a} sorted by their length|{a}, the shortest first", "a!texts", lambda a: [v for _, _, v in sorted((len(v), i, v) for i, v in enumerate(a))], weight=0.6),
    E("items", "list(reversed({a}))", "{a} the other way round|{a} in reverse order|{a} backwards|{a}, the last first", "a!items", lambda a: a[::-1], weight=1.4),
    E("items", "list(dict.fromkeys({a}))", "{a} without those that stand there again|each of {a} once, in their order|{a} without repetitions, in their order|the different {a:b}, in the order in which they come first", "a!scalars", lambda a: [v for i, v in enumerate(a) if v not in a[:i]], weight=1),
    E("items", "{a}[:{b}]", "the first {b} of {a}|the first {b} {a:b}|only the {b} first {a:b}|{a} up to the first {b}", "a!items b:size", lambda a, b: [v for i, v in enumerate(a) if i < b], weight=1.2),
    E("items", "{a}[-{b:9}:]", "the last {b} of {a}|the newest {b} {a:b}|the last {b} {a:b}|only the {b} last of {a}", "a!items b#size", lambda a, b: [v for i, v in enumerate(a) if i >= len(a) - b], weight=1.2),
    E("items", "{a}[{b}:]", "{a} without the first {b}|{a} after the first {b}|what comes after the first {b} of {a}", "a!items b:size", lambda a, b: [v for i, v in enumerate(a) if i >= b], weight=0.8),
    E("items", "{a}[::{b}]", "every one of {a} at the places 0, {b} and so on|each {b}th of {a}, beginning with the first|those of {a} at places that {b} divides", "a!items b#step", lambda a, b: [v for i, v in enumerate(a) if i % b == 0], weight=0.6),
    E("items", "{a:5} + {b:6}", "{a} and then {b} in one list|{a} followed by {b}|one list of {a} and {b}|{a} with {b} behind them", "a!nums b!nums", lambda a, b: [*a, *b], 5, weight=0.7),
    E("texts", "{a:5} + {b:6}", "{a} and then {b} in one list|{a} followed by {b}|one list of {a} and {b}", "a!texts b!texts", lambda a, b: [*a, *b], 5, weight=0.7),
    E("items", "[item for item in {a} if item in {b}]", "those of {a} that are among {b}, too|those {a:b} that {b} have as well|what {a} and {b} have in common|{a} that also stand in {b}", "a!texts b!texts", lambda a, b: [v for v in a if b.count(v)], weight=1),
    E("items", "[item for item in {a} if item not in {b}]", "those of {a} that are not among {b}|{a} without those that are in {b}|those {a:b} that {b} do not have|which of {a} are missing from {b}", "a!texts b:texts", lambda a, b: [v for v in a if not b.count(v)], weight=1),
    E("nums", "[item * {b:7} for item in {a}]", "{a}, each times {b}|each of {a} multiplied by {b}|{a} multiplied by {b}|a list of {a} times {b}", "a!nums b:num", lambda a, b: [v * b for v in a], weight=1),
    E("nums", "[item + {b:6} for item in {a}]", "{a}, each with {b} added|each of {a} plus {b}|{a} raised by {b} each", "a!nums b:num", lambda a, b: [v + b for v in a], weight=0.8),
    E("nums", "[item - {b:6} for item in {a}]", "{a}, each less {b}|each of {a} minus {b}|how far each of {a} lies above {b}", "a!nums b:num", lambda a, b: [v - b for v in a], weight=0.7),
    E("nums", "[round(item) for item in {a}]", "{a}, each rounded|{a} rounded to whole numbers|each of {a} as the nearest whole number", "a!nums", lambda a: [int(format(v, ".0f")) for v in a], weight=0.6),
    E("nums", "[len(item) for item in {a}]", "the lengths of {a}|how long each of {a} is, as a list|for each of {a} the number of its characters", "a!texts", lambda a: [sum(1 for _ in v) for v in a], weight=0.9),
    E("texts", "[item.upper() for item in {a}]", "{a} in capital letters|each of {a} in capitals|{a} written large", "a!texts", lambda a: ["".join(c.upper() for c in v) for v in a], weight=0.8),
    E("texts", "[item.strip().lower() for item in {a}]", "{a} in small letters and without white space at the ends|each of {a} stripped and written small", "a!texts", lambda a: [v.lower().strip() for v in a], weight=0.4),
    E("texts", "[item[:{b}] for item in {a}]", "the first {b} letters of each of {a}|{a}, each cut to {b} letters|each of {a} up to {b} letters", "a!texts b#size", lambda a, b: ["".join(c for i, c in enumerate(v) if i < b) for v in a], weight=0.8),
    E("texts", "[{b} + item for item in {a}]", "{a}, each with {b} before it|each of {a} with {b} in front|{b} and each of {a}, as a list", "a!texts b:text1", lambda a, b: ["".join((b, v)) for v in a], weight=0.6),
    E("items", "[[item, other_item] for item, other_item in zip({a}, {b})]", "a list of pairs of {a} and {b}|pairs, each a list of one of {a} and one of {b}|{a} side by side with {b}, a list for each pair", "a!texts b!nums", lambda a, b: [[a[i], b[i]] for i in range(min(len(a), len(b)))], weight=0.5),
    E("nums", "[item * other_item for item, other_item in zip({a}, {b})]", "each of {a} times its partner in {b}|{a} times {b}, place by place|the products of {a} and {b}, place by place", "a!nums b!nums", lambda a, b: [a[i] * b[i] for i in range(min(len(a), len(b)))], weight=0.5),
    E("texts", "list({a})", "the keys of {a}|a list of the keys of {a}|all keys that {a} {a:has}|for which keys there are {a:b}", "a!map", lambda a: [k for k in a], weight=0.9),
    E("texts", "sorted({a})", "the keys of {a} in alphabetical order|{a} ordered by the alphabet|the sorted keys of {a}|all keys of {a}, sorted", "a!map", lambda a: sorted(list(a)), weight=1),
    E("view", "{a}.values()", "the values of {a}|all values of {a}|the numbers in {a}", "a!map", lambda a: [a[k] for k in a], weight=1.5),
    E("nums", "list({a}.values())", "the values of {a}|a list of the values of {a}|all that stands in {a}, without the keys", "a!map", lambda a: [a[k] for k in a], weight=0.8),
    E("nums", "sorted({a}.values())", "the values of {a} from smallest to largest|the sorted values of {a}|the values of {a} in order", "a!map", lambda a: sorted(a[k] for k in a), weight=0.6),
    E("texts", "sorted({a}, key=lambda key: {a}[key])", "the keys of {a} from the smallest value to the largest|the keys of {a} in the order of their values", "a!map", lambda a: [k for _, _, k in sorted((v, i, k) for i, (k, v) in enumerate(a.items()))], weight=0.5),
    E("texts", "sorted({a}, key=lambda key: -{a}[key])", "the keys of {a} from the largest value to the smallest|the keys of {a}, the one with the largest value first", "a!map", lambda a: [k for _, _, k in sorted((-v, i, k) for i, (k, v) in enumerate(a.items()))], weight=0.5),
    E("nums", "[{a}.get(item, 0) for item in {b}]", "what {a} {a:has} for each of {b}, 0 for keys that are not there|the list of what stands in {a} under each of {b}, else 0", "a!map b:texts", lambda a, b: [a[k] if k in a else 0 for k in b], weight=0.6),
    E("texts", "{a}.split()", "the words of {a}|{a} cut into words|a list of the words of {a}|{a} split at the spaces", "a!text", lambda a: [w for w in a.replace("\n", " ").split(" ") if w], weight=1.1),
    E("texts", "{a}.split({b})", "the parts of {a} between {b}|{a} split at {b}|{a} cut at every {b}", "a!text b#mark", lambda a, b: list(a.split(b)), weight=0.8),
    E("texts", "[item.strip() for item in {a}.split({b})]", "the parts of {a} between {b}, without white space around them|{a} split at {b}, each part stripped", "a!text b#mark", lambda a, b: [v.strip() for v in a.split(b)], weight=0.4),
    E("items", "[{a}, {b}]", "a list of {a} and {b}|{a} and {b} as a list|{a} and {b}, in a list of two", "a!any b!any", lambda a, b: list((a, b)), weight=0.9),
    E("items", "[{a}, {b}, {c}]", "a list of {a}, {b} and {c}|{a}, {b} and {c} as a list", "a!any b!any c!any", lambda a, b, c: list((a, b, c)), weight=0.5),
    E("items", "[min({a}), max({a})]", "a list of the smallest and the largest of {a}|the least and the most of {a} as a list|the smallest and the largest {a:1} as a list of two", "a!nums", lambda a: [sorted(a)[0], sorted(a)[-1]], need="a", weight=0.5),
    E("items", "[{a:6} // {b:7}, {a:6} % {b:7}]", "a list of how many whole {b} are in {a} and what is left|{a} as a list of whole {b} and the rest", "a!whole b#step", lambda a, b: list(divmod(a, b)), weight=0.7),
]

MAPS = [
    E("map", "{{key: value for key, value in {a}.items() if value > {b:5}}}", "those entries of {a} whose value is more than {b}|{a} with the values above {b} alone|the part of {a} whose values exceed {b}", "a!map b:num", lambda a, b: {k: a[k] for k in a if b < a[k]}, weight=1),
    E("map", "{{key: value for key, value in {a}.items() if value < {b:5}}}", "those entries of {a} whose value is less than {b}|{a} with the values below {b} alone|the entries of {a} under {b}", "a!map b:num", lambda a, b: {k: a[k] for k in a if b > a[k]}, weight=0.8),
    E("map", "{{key: value for key, value in {a}.items() if value != 0}}", "{a} without the entries whose value is 0|those entries of {a} that are not 0", "a!map", lambda a: {k: a[k] for k in a if a[k]}, weight=0.5),
    E("map", "{{key: value * {b:7} for key, value in {a}.items()}}", "{a} with each value times {b}|a map like {a}, each value multiplied by {b}", "a!map b:num", lambda a, b: {k: a[k] * b for k in a}, weight=0.7),
    E("map", "{{item: len(item) for item in {a}}}", "a map from each of {a} to its length|for each of {a} its length, as a map", "a!texts", lambda a: {v: sum(1 for _ in v) for v in a}, weight=0.6),
    E("map", "{{item: {a}.count(item) for item in {a}}}", "a map from each of {a} to how often it is there|how often each of {a} is there, as a map|a tally of {a}: from each to its count", "a!texts", lambda a: {v: sum(1 for w in a if w == v) for v in a}, weight=1),
    E("tmap", "{{value: key for key, value in {a}.items()}}", "{a} the other way round: from value to key|{a} with keys and values exchanged|a map from the values of {a} to their keys", "a!tmap", lambda a: dict((a[k], k) for k in a), weight=0.8),
    E("map", "dict(zip({a}, {b}))", "a map from {a} to {b}, place by place|{a} with {b} as their values, as a map|a map in which {a} are the keys and {b} the values", "a!texts b!nums", lambda a, b: {a[i]: b[i] for i in range(min(len(a), len(b)))}, weight=0.7),
]

TEXTS = [
    E("text", 'f"{{{a}}} {{{b}}}"', "{a} and {b} with a space between|{a}, a space and {b}|{a} followed by {b}, with a space between them", "a!speak b!speak", lambda a, b: str(a) + " " + str(b), weight=1.6),
    E("text", 'f"{{{a}}}, {{{b}}}"', "{a} and {b} with a comma and a space between|{a}, then a comma and {b}", "a!speak b!speak", lambda a, b: str(a) + ", " + str(b), weight=1),
    E("text", 'f"{{{a}}} ({{{b}}})"', "{a} with {b} in brackets behind|{a} and in brackets {b}|{a}, a space, and {b} in round brackets", "a!speak b!speak", lambda a, b: str(a) + " (" + str(b) + ")", weight=1),
    E("text", 'f"{{{a}}}: {{{b}}}"', "{a}, a colon and {b}|{a} and {b} with a colon and a space between|a text of {a}, colon, space and {b}", "a!speak b!speak", lambda a, b: ": ".join((str(a), str(b))), weight=1.2),
    E("text", 'f"{{{a}}}{m}{{{b}}}"', 'a text of the form {a}{m}{b}|{a} and {b} joined by "{m}"|{a} and {b} with "{m}" between', "a!speak b!speak", lambda a, b: (str(a), str(b)), weight=1.6, joint=True),
    E("text", 'f"{w} {{{a}}}"', '"{w} " and {a}|the text "{w} " followed by {a}|{a} after the word {w} and a space|a text like "{w} 3" with {a} in it', "a!speak", lambda a: str(a), weight=1.6, word=True),
    E("text", 'f"{{{a}}} {w}"', '{a} and the word {w}, with a space between|a text such as "3 {w}" with {a} in it|{a}, a space and "{w}"', "a!speak", lambda a: str(a), weight=1.2, word=True, after=True),
    E("text", 'f"{{{a}}} {w} {{{b}}}"', '{a}, the word {w} and {b}, with spaces between|a text like "a {w} b" from {a} and {b}|{a}, " {w} " and {b}', "a!speak b!speak", lambda a, b: (str(a), str(b)), weight=1.4, word=True, joint=True),
    E("text", 'f"The {n} is {{{a}}}."', 'the sentence "The {n} is V." with {a} for V|a sentence that says what {a} {a:are}: The {n} is, the value and a point', "a!speak", lambda a: str(a), weight=0.4, sentence=True),
    E("text", "{a}.upper()", "{a} in capital letters|{a} in capitals|{a} written large|{a} with all letters capital|{a} in upper case", "a!text", lambda a: "".join(c.upper() for c in a), weight=1.4),
    E("text", "{a}.lower()", "{a} in small letters|{a} written small|{a} in lower case|{a} without capitals", "a!text", lambda a: "".join(c.lower() for c in a), weight=1.2),
    E("text", "{a}.title()", "{a} with a capital at the beginning of each word|{a}, each word with a capital|{a} written like a title", "a!text", lambda a: a.title(), weight=0.8),
    E("text", "{a}.capitalize()", "{a} with a capital at its beginning and the rest small|{a}, its first letter capital and all others small", "a!text", lambda a: a[:1].upper() + a[1:].lower(), weight=0.6),
    E("text", "{a}.strip()", "{a} without white space at both ends|{a} without the spaces at its ends|{a} stripped", "a!text", lambda a: a.lstrip().rstrip(), weight=0.7),
    E("text", "{a}[::-1]", "{a} backwards|{a} from behind|{a} with its letters in reverse|the letters of {a} the other way round", "a!text", lambda a: "".join(reversed(a)), weight=0.9),
    E("text", "{a}[:{b}]", "the first {b} letters of {a}|{a} cut to {b} characters|the first {b} characters of {a}|at most {b} characters of {a}, from its beginning", "a!text b:size", lambda a, b: "".join(c for i, c in enumerate(a) if i < b), weight=1.2),
    E("text", "{a}[-{b:9}:]", "the last {b} letters of {a}|the last {b} characters of {a}|the end of {a}, {b} characters", "a!text b#size", lambda a, b: "".join(c for i, c in enumerate(a) if i >= len(a) - b), weight=0.8),
    E("text", "{a}.replace({b}, {c})", "{a} with {c} in the place of every {b}|{a}, each {b} replaced by {c}|{a} in which {c} stands for {b}", "a!text b#mark c#mark", lambda a, b, c: c.join(a.split(b)), weight=1),
    E("text", '{a}.replace(" ", "")', "{a} without its spaces|{a} with all spaces taken out|{a}, the spaces left out", "a!text", lambda a: "".join(c for c in a if c != " "), weight=0.6),
    E("text", '"".join(item[0] for item in {a}.split()).upper()', "the first letter of each word of {a}, in capitals|the initials of {a}|an abbreviation of {a}: of each word its first letter, in capitals", "a!text", lambda a: "".join(w[:1].upper() for w in a.split(" ") if w), weight=0.9),
    E("text", '{a}.partition({b})[0]', "what stands before {b} in {a}|the part of {a} before the first {b}|{a} up to the first {b}", "a!text b#mark", lambda a, b: a.split(b)[0], weight=0.8),
    E("text", '{a}.partition({b})[2]', "what stands after {b} in {a}|the part of {a} after the first {b}|the rest of {a} behind the first {b}", "a!text b#mark", lambda a, b: b.join(a.split(b)[1:]), weight=0.8),
    E("text", "{a:6} * {b:7}", "{a} {b} times in a row|{a} repeated {b} times|{b} copies of {a} in one text", "a!text b:size", lambda a, b: "".join([a] * b), 6, weight=0.7),
    E("text", "str({a}).zfill({b})", "{a} as a text, {b} digits at least, with zeros in front|{a} with zeros in front, {b} places wide|{a}, filled with zeros to {b} digits", "a!count b#width", lambda a, b: "0" * (b - len(str(a))) + str(a), weight=0.8),
    E("text", "{a}.rjust({b})", "{a} with spaces in front, {b} characters wide|{a} set right in {b} characters", "a!text b#wide", lambda a, b: " " * (b - len(a)) + a, weight=0.4),
    E("text", "{a}.ljust({b}, {c})", "{a} filled up with {c} behind to {b} characters|{a}, {b} characters wide, with {c} at the end", "a!text b#wide c#mark", lambda a, b, c: a + c * (b - len(a)), weight=0.4),
    E("text", "{b}.join({a})", "{a} joined by {b}|{a} with {b} between them, as one text|one text of {a}, with {b} between|{a} in one text, separated by {b}", "a!texts b#join", lambda a, b: "".join(v if i == 0 else b + v for i, v in enumerate(a)), weight=1.8),
    E("text", "{b}.join({a})", "{a} joined by {b}|{a} with {b} between them, as one text|{a} in one text with {b} between them", "a:texts b#join", lambda a, b: "".join(v if i == 0 else b + v for i, v in enumerate(a)), weight=1.2),
    E("text", "{b}.join(str(item) for item in {a})", "{a} as one text with {b} between them|{a} joined by {b}, as a text|one text of {a} with {b} between", "a!nums b#join", lambda a, b: "".join(str(v) if i == 0 else b + str(v) for i, v in enumerate(a)), weight=0.8),
    E("text", '" ".join(reversed({a}.split()))', "the words of {a} in reverse order|{a} with its words the other way round", "a!text", lambda a: " ".join(a.split()[::-1]), weight=0.5),
    E("text", "{a}.split()[0]", "the first word of {a}|the word with which {a} begin{a:s}", "a!text", lambda a: [w for w in a.split(" ") if w][0], need="a", weight=0.8),
    E("text", "{a}.split()[-1]", "the last word of {a}|the word with which {a} end{a:s}", "a!text", lambda a: [w for w in a.split(" ") if w][-1], need="a", weight=0.7),
    E("text", "max({a}.split(), key=len)", "the longest word of {a}, the first of several|the word of {a} with the most letters", "a!text", lambda a: next(w for w in a.split() if len(w) == max(len(v) for v in a.split())), need="a", weight=0.5),
    E("text", "{a}[0]", "the first letter of {a}|the first character of {a}|the letter with which {a} begin{a:s}", "a!text", lambda a: next(iter(a)), need="a", weight=0.8),
    E("text", "{a}[-1]", "the last letter of {a}|the last character of {a}|the letter with which {a} end{a:s}", "a!text", lambda a: next(iter(a[::-1])), need="a", weight=0.6),
    E("element", "{a}[0]", "the first of {a}|the first {a:1}|which of {a} comes first|the {a:1} at the beginning|the oldest of {a}", "a!items", lambda a: next(iter(a)), need="a", weight=1.5),
    E("element", "{a}[-1]", "the last of {a}|the last {a:1}|the newest {a:1}|which of {a} comes last|the latest {a:1}|the most recent {a:1}", "a!items", lambda a: next(iter(a[::-1])), need="a", weight=1.5),
    E("text", "max({a}, key=len)", "the longest of {a}|the longest {a:1}, the first of several|which of {a} is longest", "a!texts", lambda a: next(v for v in a if len(v) == max(len(w) for w in a)), need="a", weight=1),
    E("text", "min({a}, key=len)", "the shortest of {a}|the shortest {a:1}, the first of several|which of {a} is shortest", "a!texts", lambda a: next(v for v in a if len(v) == min(len(w) for w in a)), need="a", weight=0.8),
    E("text", "min({a})", "the first of {a} in the alphabet|which of {a} comes first in the alphabet", "a!texts", lambda a: sorted(a)[0], need="a", weight=0.5),
    E("text", "max({a}, key={a}.count)", "which of {a} is there most often, the first of several|the most frequent {a:1}, the first of several|the one of {a} that occurs most often", "a!texts", lambda a: next(v for v in a if a.count(v) == max(a.count(w) for w in a)), need="a", weight=0.9),
    E("text", "max({a}, key={a}.get)", "the key of {a} with the largest value, the first of several|for which key {a} {a:are} largest|under which key the most stands in {a}|the key with the highest value in {a}", "a!map", lambda a: next(k for k in a if a[k] == max(a.values())), need="a", weight=1.2),
    E("text", "min({a}, key={a}.get)", "the key of {a} with the smallest value, the first of several|for which key {a} {a:are} smallest|under which key the least stands in {a}", "a!map", lambda a: next(k for k in a if a[k] == min(a.values())), need="a", weight=1),
    E("text", '{a}.get({b}, "")', 'what stands under {b} in {a}, an empty text when nothing does|the {a:1} of {b}, an empty text if there is none', "a!tmap b?text", lambda a, b: a[b] if b in a else "", weight=0.9),
    E("text", '{a}.get({b}, "?")', 'what stands under {b} in {a}, a question mark when nothing does|the {a:1} of {b}, "?" when there is none', "a!tmap b?text", lambda a, b: a[b] if b in a else "?", weight=0.5),
    E("any", "{a}.get({b})", "what stands under {b} in {a}, none when nothing does|the {a:1} of {b}, none when there is none|what {a} {a:has} for {b}, or none|the entry of {a} for {b}, none for a key that is not there", "a!maps b?text", lambda a, b: a[b] if b in a else None, weight=2),
    E("date", "({0} + datetime.timedelta(days={{b}})).isoformat()[:10]".format(DAY % "a"), "the day that is {b} days after {a}|{a} and {b} days more|which day it is {b} days after {a}|the day {b} days later than {a}", "a!date b:days", lambda a, b: civil(ordinal(a) + b), weight=1.6),
    E("date", "({0} - datetime.timedelta(days={{b}})).isoformat()[:10]".format(DAY % "a"), "the day that is {b} days before {a}|which day it was {b} days before {a}|the day {b} days earlier than {a}", "a!date b:days", lambda a, b: civil(ordinal(a) - b), weight=0.9),
    E("text", "{a}[:7]", "year and month of {a}, such as 2026-11|{a} without the day of the month", "a!date", lambda a: "-".join(a.split("-")[:2]), weight=0.6),
    E("text", 'f"{{{a}[8:]}}.{{{a}[5:7]}}.{{{a}[:4]}}"', "{a} written as day, month and year with points, such as 21.11.2026|{a} in the form 21.11.2026", "a!date", lambda a: ".".join(a.split("-")[::-1]), weight=0.6),
    E("date", "min({a})", "the earliest of {a}|the earliest {a:1}|which of {a} comes first in time", "a!dates", lambda a: min(a, key=ordinal), need="a", weight=0.8),
    E("date", "max({a})", "the latest of {a}|the latest {a:1}|which of {a} comes last in time", "a!dates", lambda a: max(a, key=ordinal), need="a", weight=0.8),
    E("dates", "[item for item in {a} if item < {b:5}]", "those of {a} that come before {b}|{a} earlier than {b}", "a!dates b:date", lambda a, b: [v for v in a if ordinal(v) < ordinal(b)], weight=0.8),
    E("dates", "[item for item in {a} if item >= {b:5}]", "those of {a} from {b} on|{a} that do not come before {b}", "a!dates b:date", lambda a, b: [v for v in a if ordinal(v) >= ordinal(b)], weight=0.8),
    E("clock", 'f"{{{a:9} // 60 % 24:02}}:{{{a:9} % 60:02}}"', "{a} as a time of day such as 07:05, in minutes since midnight|the time of day {a} after midnight, such as 07:05", "a!count", lambda a: ":".join((str(a // 60 % 24).rjust(2, "0"), str(a % 60).rjust(2, "0"))), weight=1),
    E("text", 'f"{{{a:9} // 60}}:{{{a:9} % 60:02}}"', "{a} as minutes and seconds such as 3:07|{a} in the form 3:07: whole sixties, a colon and two digits", "a!count", lambda a: ":".join((str(a // 60), str(a % 60).rjust(2, "0"))), weight=0.6),
]

# What an item of a list is like: the code of `item`, how it is said (`=` stands for are or is, `~` for the s of the singular), its holes.
FILTERS = [
    E("num", "item > {b:5}", "=more than {b}|=above {b}|=larger than {b}|=over {b}|=greater than {b}|exceed~ {b}", "b:leaf", lambda v, b: b < v, weight=2),
    E("num", "item < {b:5}", "=less than {b}|=below {b}|=smaller than {b}|=under {b}|=lower than {b}", "b:leaf", lambda v, b: b > v, weight=2),
    E("num", "item >= {b:5}", "=at least {b}|=not less than {b}|=not below {b}|reach~ {b} or more", "b:leaf", lambda v, b: not v < b, weight=1.4),
    E("num", "item <= {b:5}", "=at most {b}|=not more than {b}|=not above {b}", "b:leaf", lambda v, b: not v > b, weight=1.4),
    E("num", "item == {b:5}", "=equal to {b}|=exactly {b}|equal~ {b}", "b:leaf", lambda v, b: not v != b, weight=0.8),
    E("num", "item != {b:5}", "=not {b}|=other than {b}|differ~ from {b}", "b:leaf", lambda v, b: v < b or v > b, weight=0.7),
    E("num", "item < 0", "=below zero|=negative|=less than nothing", "", lambda v: 0 > v, weight=0.9),
    E("num", "item > 0", "=above zero|=positive|=more than nothing", "", lambda v: 0 < v, weight=0.9),
    E("whole", "item % 2 == 0", "=even|=even numbers|can be halved", "", lambda v: v & 1 == 0, weight=0.8),
    E("whole", "item % 2 == 1", "=odd|=odd numbers|cannot be halved", "", lambda v: v & 1 == 1, weight=0.6),
    E("num", "{b:5} <= item <= {c:5}", "lie~ from {b} to {c}|=neither below {b} nor above {c}|=between {b} and {c}, both included", "b:leaf c:leaf", lambda v, b, c: not (v < b or v > c), weight=0.8),
    E("text", "item.startswith({b})", "begin~ with {b}|start~ with {b}|have^ {b} at the beginning", "b:leaf", lambda v, b: v[:len(b)] == b, weight=1.4),
    E("text", "item.endswith({b})", "end~ with {b}|end~ in {b}|have^ {b} at the end", "b:leaf", lambda v, b: b == "" or v[-len(b):] == b, weight=1),
    E("text", "{b:5} in item", "contain~ {b}|have^ {b} in them|hold~ {b}", "b:leaf", lambda v, b: len(v.split(b)) > 1 if b else True, weight=1),
    E("text", "len(item) > {b:5}", "=longer than {b} letters|have^ more than {b} letters|=of more than {b} letters", "b#size", lambda v, b: sum(1 for _ in v) > b, weight=1.2),
    E("text", "len(item) < {b:5}", "=shorter than {b} letters|have^ fewer than {b} letters|=of fewer than {b} letters", "b#size", lambda v, b: sum(1 for _ in v) < b, weight=1),
    E("text", "len(item) >= {b:5}", "have^ at least {b} letters|=of {b} letters or more|=at least {b} letters long", "b#size", lambda v, b: sum(1 for _ in v) >= b, weight=1),
    E("text", "len(item) == {b:5}", "have^ exactly {b} letters|=of {b} letters|=exactly {b} letters long", "b#size", lambda v, b: sum(1 for _ in v) == b, weight=0.7),
    E("text", "item != {b:5}", "=not {b}|=other than {b}|differ~ from {b}", "b:leaf", lambda v, b: not v == b, weight=0.8),
    E("text", 'item != ""', "=not empty|have^ anything in them", "", lambda v: len(v) > 0, weight=0.6),
    E("bool", "item", "=true|=set|=ticked", "", lambda v: v, weight=1),
    E("bool", "not item", "=false|=not set|=not ticked", "", lambda v: v is False, weight=1),
]

ALL = NUMBERS + TRUTHS + LISTS + MAPS + TEXTS

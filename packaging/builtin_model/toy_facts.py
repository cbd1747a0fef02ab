"""Short plain passages of made-up facts, with the questions anyone would try first.

"Maria has a blue bicycle. She ..." and "What colour is Maria's bicycle?". Every name and value is drawn, so
nothing can be known: the answer has to be read and copied.
"""

from __future__ import annotations

import random

from question_rules import Asked

_FIRST_LIST = (
    "Maria Tom Anna Peter Lucy Sam Elena Oscar Nina Paul Clara David Ruth Leo Emma Hugo Ida Max Sara "
    "Felix Mina Ben Olga Ravi Aisha Chen Yuki Omar Ines Karl Lena Mateo Priya Noah Zoe Ivan Amara "
    "Jonas Tara Viktor"
)
_LAST_LIST = (
    "Miller Garcia Novak Weber Rossi Tanaka Okafor Silva Larsen Dubois Petrov Khan Murphy Lind Costa Berg "
    "Moreau Singh Fischer Kowalski Haddad Jensen Park Vargas Winter Stone Marsh Bell Carver Holt"
)
_SYLLABLE_LIST = (
    "ba be bo da do fa fen gar go hal jo ka kel la lo mar mi mo na nor o pa pel ra rin ro sa sel sto "
    "ta tha tor u va ver vi wen yar zan zu"
)
_FIRST, _LAST, _SYLLABLES = _FIRST_LIST.split(), _LAST_LIST.split(), _SYLLABLE_LIST.split()

_VALUES = {
    "city": "Lisbon|Oslo|Vienna|Prague|Dublin|Madrid|Athens|Warsaw|Kyoto|Lima|Cairo|Nairobi|Quebec|Boston|"
    "Denver|Perth|Delhi|Hanoi|Bergen|Turin|Leeds|Porto|Ghent|Malaga|Riga|Tartu|Zagreb|Basel|Krakow|Utrecht",
    "colour": "red|blue|green|yellow|black|white|brown|grey|purple|orange|silver|pink",
    "thing": "bicycle|car|house|coat|bag|boat|kite|scarf|lamp|chair|door|van|bottle|clock|tent|piano",
    "job": "a baker|a nurse|a teacher|a carpenter|a pilot|a farmer|a lawyer|a plumber|"
    "a painter|an engineer|a cook",
    "animal": "dog|cat|horse|parrot|rabbit|tortoise|goat|pony|hamster|donkey",
    "food": "pancakes|lentil soup|apple pie|rice and beans|fish stew|cheese|dumplings|roast chicken|salad",
    "material": "oak|steel|glass|granite|copper|wool|leather|clay|brass|paper|bamboo|silk",
    "place": "under the mat|in the top drawer|behind the clock|on the kitchen table|in the garden shed|"
    "next to the stove|above the door|in the blue box|at the post office|beside the well|in the attic",
    "day": "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday",
    "month": "January|February|March|April|May|June|July|August|September|October|November|December",
    "instrument": "violin|piano|flute|guitar|cello|trumpet|harp",
    "building": "bridge|tower|museum|library|station|castle|school|theatre|mill|church|lighthouse|dam",
    "reason": "it was raining|the road was closed|the car did not start|the engine was broken|"
    "there was no money left|the tickets were sold out|the key was lost|the ice was too thin",
}
_CHOICES = {name: values.split("|") for name, values in _VALUES.items()}

# Sentence | questions, separated by "/" | answer. An indented line continues the one before.
_FACT_LINES = """
{p} was born in {city} in {year}. | Where was {p} born? / In which city was {p} born? | {city}
{p} was born in {city} in {year}. | When was {p} born? / What year was {p} born? | {year}
{p} lives in {city}. | Where does {p} live? / Which city does {p} live in? | {city}
{p} works as {job}. | What does {p} do? / What is {p}'s job? / What does {p} work as? | {job}
{p} has a {colour} {thing}. | What colour is {p}'s {thing}? / What color is the {thing} of {p}? |
  {colour}
{p} has a {colour} {thing}. | What does {p} have? / What does {p} own? | a {colour} {thing}
The {thing} costs {price} euros. | How much does the {thing} cost? / What is the price of the {thing}? |
  {price} euros
The {colour} {thing} belongs to {p}. | Whose is the {colour} {thing}? / Who owns the {colour} {thing}? |
  {p}
The {building} was built in {year}. | When was the {building} built? / How old is the {building}? |
  {year}
The {building} in {town} was designed by {p}. | Who designed the {building} in {town}? | {p}
The capital of {land} is {town}. | What is the capital of {land}? / Which city is the capital of {land}?
  | {town}
The {river} is {size} kilometres long. | How long is the {river}? / What is the length of the {river}? |
  {size} kilometres
The shop opens at {hour} and closes at {later}. | When does the shop open? / At what time does the shop
  open? | {hour}
The shop opens at {hour} and closes at {later}. | When does the shop close? / Until when is the shop
  open? | {later}
{p}'s {animal} is called {pet}. | What is the name of {p}'s {animal}? / What is {p}'s {animal} called? |
  {pet}
The meeting is on {day} at {hour} in {room}. | On what day is the meeting? / When is the meeting? |
  {day}
The meeting is on {day} at {hour} in {room}. | Where is the meeting? / In which room is the meeting? |
  {room}
{p} paid for the tickets. | Who paid for the tickets? / Who bought the tickets? | {p}
The {animal} weighs {size} kilograms. | How much does the {animal} weigh? / How heavy is the {animal}? |
  {size} kilograms
{p} plays the {instrument}. | What does {p} play? / Which instrument does {p} play? | {instrument}
The key is {place}. | Where is the key? / Where can I find the key? | {place}
{town} has {many} inhabitants. | How many people live in {town}? / What is the population of {town}? |
  {many}
{p} and {q} married in {year}. | When did {p} and {q} marry? / In which year did {p} marry? | {year}
The {thing} is made of {material}. | What is the {thing} made of? / What material is the {thing} made
  from? | {material}
The train to {city} leaves at {hour}. | When does the train to {city} leave? / At what time does the
  train go? | {hour}
{firm} was founded by {p} in {year}. | Who founded {firm}? / Who is the founder of {firm}? | {p}
{firm} was founded by {p} in {year}. | When was {firm} founded? / Since when does {firm} exist? | {year}
The code for the {building} is {secret}. | What is the code for the {building}? / What is the code? |
  {secret}
{p}'s favourite food is {food}. | What is {p}'s favourite food? / What does {p} like to eat? | {food}
{p} stayed at home because {reason}. | Why did {p} stay at home? / What kept {p} at home? | {reason}
{p} gave {q} a {thing}. | What did {p} give {q}? / What did {q} get from {p}? | a {thing}
{p} gave {q} a {thing}. | Who gave {q} a {thing}? / From whom did {q} get the {thing}? | {p}
The party is on {date}. | When is the party? / What date is the party? | {date}
There are {count} {animal}s on the farm. | How many {animal}s are there? / How many {animal}s live on
  the farm? | {count}
{p} has {count} {thing}s. | How many {thing}s does {p} have? / How many {thing}s has {p} got? | {count}
{p} speaks to {q} every {day}. | Who does {p} speak to every {day}? / Whom does {p} talk to? | {q}
"""
_TEMPLATES = [
    tuple(part.strip() for part in line.split("|"))
    for line in _FACT_LINES.strip().replace("\n  ", " ").split("\n")
]

Fact = tuple[str, list[str], str]


def made_up_name(rng: random.Random) -> str:
    """A capitalised word that means nothing."""
    return "".join(rng.choice(_SYLLABLES) for _ in range(rng.randint(2, 4))).capitalize()


def code(rng: random.Random) -> str:
    """Letters and digits, such as a part number."""
    letters = "".join(rng.choice("ABCDEFGHJKLMNPQRSTUVWXYZ") for _ in range(rng.randint(1, 4)))
    digits = str(rng.randint(1, 99999))
    return rng.choice((letters + digits, f"{letters}-{digits}", digits + letters, f"{digits}-{letters}"))


def number(rng: random.Random) -> str:
    """A number as it is written in texts."""
    value = int(10 ** rng.uniform(0.3, 6.5))
    return f"{value:,}" if rng.random() < 0.7 else str(value)


def person(rng: random.Random) -> str:
    """A first name, mostly with a last name."""
    first = rng.choice(_FIRST)
    return first if rng.random() < 0.4 else f"{first} {rng.choice(_LAST)}"


def _clock(rng: random.Random) -> str:
    if rng.random() < 0.5:
        return f"{rng.randint(1, 12)} o'clock"
    return f"{rng.randint(0, 23)}:{rng.choice(('00', '15', '30', '45'))}"


def _draw_values(rng: random.Random) -> dict[str, str]:
    values = {name: rng.choice(choices) for name, choices in _CHOICES.items()}
    values |= {name: person(rng) for name in ("p", "q")}
    values |= {name: made_up_name(rng) for name in ("land", "town", "firm", "river")}
    values |= {name: _clock(rng) for name in ("hour", "later")}
    return values | {
        "pet": rng.choice((made_up_name(rng), rng.choice(_FIRST))),
        "year": str(rng.randint(1700, 2025)),
        "price": str(rng.randint(2, 990)),
        "size": str(rng.randint(3, 9000)),
        "count": str(rng.randint(2, 60)),
        "many": number(rng),
        "room": f"room {rng.randint(1, 400)}",
        "date": f"{rng.randint(1, 28)} {values['month']}",
        "secret": code(rng),
    }


def _sample(rng: random.Random) -> list[Fact]:
    """One to four facts that share their values: (sentence, questions, answer)."""
    values = _draw_values(rng)
    facts = []
    for sentence, questions, answer in rng.sample(_TEMPLATES, rng.randint(1, 4)):
        asked = [question.strip().format_map(values) for question in questions.split("/")]
        facts.append((sentence.format_map(values), asked, answer.format_map(values)))
    return facts


def draw_facts(rng: random.Random) -> tuple[str, list[Asked], set[str]]:
    """A passage of one to eight facts, a question on each, and every question that the passage answers."""
    facts = _sample(rng) + (_sample(rng) if rng.random() < 0.5 else [])
    asked: list[Asked] = []
    sentences: list[str] = []
    taken: set[str] = set()
    for sentence, questions, answer in facts:
        if sentence not in sentences and taken & set(questions):
            continue  # it would contradict an earlier fact
        if sentence not in sentences:
            sentences.append(sentence)
        if not taken & set(questions):
            asked.append(Asked(rng.choice(questions), answer, sentence))
        taken.update(questions)
    return " ".join(sentences), asked, taken

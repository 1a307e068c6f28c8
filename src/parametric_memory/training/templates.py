"""Questions from facts: a subject and a relation's name in, a natural question out.

A relation is found by its cleaned name (``familyFriendly``, ``family friendly`` and ``FAMILY_FRIENDLY`` are one); any
other gets a general wording. Which wording, depends on subject and relation alone.
"""

from __future__ import annotations

import re

from parametric_memory.types import stable_id

#: Wordings by cleaned name; relations that are asked for in the same way stand on one line.
_FAMILIES: dict[tuple[str, ...], tuple[str, ...]] = {
    # Where and when somebody lived.
    ("place of birth",): ("Where was {} born?", "What is the birthplace of {}?", "In which place was {} born?"),
    ("place of death",): ("Where did {} die?", "What is the place of death of {}?"),
    ("date of birth", "birth year"): ("When was {} born?", "What is the date of birth of {}?"),
    ("date of death",): ("When did {} die?", "What is the date of death of {}?"),
    ("place of residence", "residence"): ("Where does {} live?", "What is the residence of {}?"),
    ("hometown",): ("Where does {} come from?", "What is the hometown of {}?"),
    ("country of citizenship",): ("Which country is {} a citizen of?", "Which country does {} come from?"),
    ("nationality",): ("What is the nationality of {}?", "What nationality does {} have?"),
    ("ethnic group",): ("Which ethnic group does {} belong to?", "What is the ethnicity of {}?"),
    ("religion",): ("What is the religion of {}?", "Which religion does {} follow?"),
    ("languages spoken, written or signed",): ("Which language does {} speak?", "What is the language of {}?"),
    # Kin.
    ("spouse",): ("Who is {} married to?", "Who is the spouse of {}?", "Whom did {} marry?"),
    ("child",): ("Who is a child of {}?", "Who is the son or daughter of {}?"),
    ("child of",): ("Who is a parent of {}?", "Whose child is {}?"),
    ("father",): ("Who is the father of {}?", "Who was the father of {}?"),
    ("mother",): ("Who is the mother of {}?", "Who was the mother of {}?"),
    ("sibling",): ("Who is a sibling of {}?", "Who is the brother or sister of {}?"),
    # What somebody does.
    ("educated at", "school", "college"): (
        "Where did {} study?",
        "Where was {} educated?",
        "Which school did {} go to?",
    ),
    ("employer",): ("Who does {} work for?", "Who is the employer of {}?"),
    ("employee or member of",): ("Which organisation does {} belong to?", "Who does {} work for?"),
    ("member of",): ("What is {} a member of?", "Which group does {} belong to?"),
    ("member of political party", "political affiliation", "party"): (
        "Which party does {} belong to?",
        "What is the political party of {}?",
    ),
    ("member of sports team", "team", "current club", "club"): (
        "Which team does {} play for?",
        "What is the team of {}?",
    ),
    ("position held",): ("Which position does {} hold?", "What office does {} hold?"),
    ("position played on team / speciality", "position"): (
        "What position does {} play?",
        "Which position does {} have?",
    ),
    ("military rank",): ("What is the military rank of {}?", "What rank does {} hold?"),
    ("military branch",): ("In which military branch did {} serve?", "What is the military branch of {}?"),
    ("conflict",): ("In which conflict did {} take part?", "Which war did {} fight in?"),
    ("award received",): ("Which award did {} receive?", "What prize was given to {}?"),
    ("voice type",): ("What is the voice type of {}?", "Which voice does {} sing with?"),
    ("sport",): ("Which sport is {} known for?", "What sport does {} belong to?"),
    ("competition class",): ("In which class does {} compete?", "What is the competition class of {}?"),
    ("league",): ("In which league does {} play?", "What is the league of {}?"),
    ("work location",): ("Where does {} work?", "What is the place of work of {}?"),
    ("notable work",): ("Which work is {} known for?", "What is a notable work of {}?"),
    ("participant of",): ("What did {} take part in?", "In which event did {} take part?"),
    ("participant",): ("Who took part in {}?", "Who was a participant of {}?"),
    ("influenced by",): ("Who influenced {}?", "By whom was {} influenced?"),
    # Organisations.
    ("founded by",): ("Who founded {}?", "Who is the founder of {}?", "By whom was {} founded?"),
    ("date founded", "founding date"): ("When was {} founded?", "In what year was {} established?"),
    ("location of formation",): ("Where was {} founded?", "Where was {} formed?"),
    ("headquarters", "headquarters location"): ("Where is {} based?", "Where are the headquarters of {}?"),
    ("ceo",): ("Who is the CEO of {}?", "Who runs {}?"),
    ("chairperson",): ("Who chairs {}?", "Who is the chairperson of {}?"),
    ("subsidiary of", "parent organization"): ("What is {} a subsidiary of?", "What is the parent company of {}?"),
    ("subsidiary",): ("What is a subsidiary of {}?", "Which company belongs to {}?"),
    ("owned by",): ("Who owns {}?", "Who is the owner of {}?"),
    ("operator",): ("Who operates {}?", "Who is the operator of {}?"),
    ("product or material produced",): ("What does {} produce?", "What is made by {}?"),
    ("enrollment",): ("How many students does {} have?", "What is the enrolment of {}?"),
    ("nickname",): ("What is the nickname of {}?", "What is {} nicknamed?"),
    ("joined",): ("When did {} join?", "In what year did {} join?"),
    ("first elected",): ("When was {} first elected?", "In what year was {} first elected?"),
    ("replaced by",): ("Who replaced {}?", "What was {} replaced by?"),
    ("replaces",): ("What does {} replace?", "Who was replaced by {}?"),
    # Works.
    ("author", "written by", "writer(s)"): ("Who wrote {}?", "Who is the author of {}?"),
    ("director", "directed by"): ("Who directed {}?", "Who is the director of {}?"),
    ("producer",): ("Who produced {}?", "Who is the producer of {}?"),
    ("screenwriter",): ("Who wrote the screenplay of {}?", "Who is the screenwriter of {}?"),
    ("composer",): ("Who composed {}?", "Who wrote the music of {}?"),
    ("lyrics by",): ("Who wrote the lyrics of {}?", "By whom are the lyrics of {}?"),
    ("performer",): ("Who performed {}?", "Who is the performer of {}?"),
    ("cast member",): ("Who acted in {}?", "Who is in the cast of {}?"),
    ("creator",): ("Who created {}?", "Who is the creator of {}?"),
    ("developer",): ("Who developed {}?", "Who is the developer of {}?"),
    ("publisher",): ("Who published {}?", "Who is the publisher of {}?"),
    ("manufacturer",): ("Who makes {}?", "Who is the manufacturer of {}?"),
    ("record label",): ("Which label released {}?", "What is the record label of {}?"),
    ("production company",): ("Which company produced {}?", "What is the production company of {}?"),
    ("original network",): ("On which network was {} first shown?", "What is the original network of {}?"),
    ("original air date",): ("When was {} first aired?", "What is the original air date of {}?"),
    ("original language of film or tv show",): ("In which language was {} made?", "What is the language of {}?"),
    ("genre",): ("What is the genre of {}?", "Which genre does {} belong to?"),
    ("main subject",): ("What is {} about?", "What is the main subject of {}?"),
    ("characters",): ("Which character appears in {}?", "Who is a character in {}?"),
    ("present in work",): ("In which work does {} appear?", "Where does {} appear?"),
    ("platform",): ("On which platform does {} run?", "For which platform was {} made?"),
    ("part of the series",): ("Which series does {} belong to?", "What series is {} part of?"),
    ("follows",): ("What does {} follow?", "What came before {}?"),
    ("followed by",): ("What followed {}?", "What came after {}?"),
    # Places and things.
    ("located in the administrative territorial entity", "location", "county", "state"): (
        "Where is {}?",
        "Where is {} located?",
        "In which place is {}?",
    ),
    ("contains administrative territorial entity",): ("Which place is in {}?", "What lies in {}?"),
    ("country",): ("In which country is {}?", "Which country does {} belong to?"),
    ("country of origin",): ("Which country does {} come from?", "What is the country of origin of {}?"),
    ("continent",): ("On which continent is {}?", "Which continent does {} belong to?"),
    ("capital",): ("What is the capital of {}?", "Which city is the capital of {}?"),
    ("capital of",): ("What is {} the capital of?", "Which place has {} as its capital?"),
    ("official language",): ("What is the official language of {}?", "Which language is spoken in {}?"),
    ("located in or next to body of water",): ("Which water is {} at?", "What body of water is {} next to?"),
    ("located on terrain feature",): ("On what does {} lie?", "Where does {} lie?"),
    ("mouth of the watercourse",): ("Where does {} flow to?", "What does {} flow into?"),
    ("basin country",): ("Through which country does {} flow?", "Which country is {} in?"),
    ("crosses",): ("What does {} cross?", "Which water or road does {} cross?"),
    ("constellation",): ("In which constellation is {}?", "Which constellation does {} belong to?"),
    ("applies to jurisdiction",): ("Where does {} apply?", "Which place is {} responsible for?"),
    ("head of state",): ("Who is the head of state of {}?", "Who heads the state of {}?"),
    ("head of government",): ("Who is the head of government of {}?", "Who governs {}?"),
    ("instance of", "subclass of"): ("What is {}?", "What kind of thing is {}?"),
    ("part of",): ("What is {} part of?", "What does {} belong to?"),
    ("has part",): ("What is a part of {}?", "What does {} include?"),
    # Restaurants.
    ("food",): ("What food does {} serve?", "What kind of food is there at {}?"),
    ("eat type",): ("What kind of place is {}?", "What sort of place is {}?"),
    ("near",): ("What is {} near?", "Which place is close to {}?"),
    ("area",): ("Where is {}?", "In what area is {}?"),
    ("price range",): ("How expensive is {}?", "What are the prices at {}?", "What is the price range of {}?"),
    ("customer rating",): ("How do customers rate {}?", "What is the customer rating of {}?"),
}
_WORDINGS = {name: wordings for names, wordings in _FAMILIES.items() for name in names}

_PRONOUNS = frozenset(
    re.findall(
        r"\w+",
        "i me my we us our you your he him his she her it its they them their this that these those who which one",
    )
)


def clean(relation: str) -> str:
    """Return a relation's name in words: ``familyFriendly`` as ``family friendly``, ``SUBSIDIARY_OF`` likewise."""
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", relation)
    return " ".join(re.sub(r"[_\[\]()#%]+", " ", parted).split()).lower()


def ask(subject: str, relation: str) -> str:
    """Return a question for the object of a fact."""
    name = clean(relation)
    wordings = _WORDINGS.get(name) or (f"What is the {name} of {{}}?",)
    return wordings[int(stable_id(f"{subject}\n{name}")[:8], 16) % len(wordings)].replace("{}", subject)


def is_pronoun(text: str) -> bool:
    """Return whether a text only points at what it means."""
    return text.strip().lower() in _PRONOUNS


def is_name(text: str) -> bool:
    """Return whether a text says by itself what it means: no pronoun, and more than ``the company``."""
    rest = re.sub(r"^(the|a|an)\s+", "", text.strip(), flags=re.IGNORECASE)
    return not is_pronoun(rest) and any(char.isupper() or char.isdigit() for char in rest)

import pytest

from parametric_memory.ingest.extractors.kinds import RULES, kind_of

TABLE = """
definition | A halfboat is a ferry that sails with fewer than ten passengers.
definition | SLA stands for service level agreement.
definition | Downtime refers to hours in which the service is not reachable.
definition | The bar of MV Corrie Light is called the Lamp Room.
procedure | Press the red button of the plotter.
procedure | To reset the router: Hold the button for ten seconds.
procedure | To open the gate, press 4 and wait.
procedure | First, unplug the printer.
procedure | Then wait ten seconds.
procedure | Do not open the valve while the pump is running.
procedure | Step 3: the lamp goes out.
procedure | From outside, dial 0417 before the extension.
procedure | In your first week at Orrin: Collect your key card from Emil.
procedure | If the alarm rings, leave the building.
fact | Call volume is high on Mondays.
fact | Leave during the regatta can be approved only by Tobias.
fact | Lost property is kept for 90 days.
relation | Jonas Vekk reports to Tobias Rehn.
relation | Nordlys is part of the Halvard group.
relation | Catering is led by Mira Lindquist.
relation | Marta Silva is the head of facilities.
relation | The depot is located in Lisbon.
relation | The company owns three warehouses in Porto.
event | Mira Lindquist joined the co-operative in 2019.
event | On 22 May 2030 the crew rescued three kayakers.
event | The Signal Tower was built in 1887.
event | On 17 November 2029 MV Tarn struck the pier of Hulm.
fact | From June 2031 wages are paid on the 25th day of each month.
attribute | The captain's cabin is blue.
attribute | The mast on Gannet Point is 28 metres high.
attribute | A lost key card costs 15 crowns.
attribute | MV Corrie Light has 52 cabins on two decks.
attribute | MV Tern has racks for 40 bicycles.
attribute | The working channel of the yard is VHF channel 72.
attribute | A life raft of the type Plover holds 25 people.
fact | A lost key card must be reported to the ticket office within 24 hours.
fact | Seals rest on the sandbank between May and July.
fact | Das Büro öffnet um neun Uhr.
attribute | The hall has a height of nine metres.
attribute | The repair took nine days.
relation | The trustee of Safe Haven is the notary Cosima Freund.
relation | Accounts belong to the person who opened them.
definition | OSF is short for Orrin Sound Ferries.
event | Last summer the ferry sank at her moorings.
attribute | Sick pay is 80 percent of the wage.
fact | Winter jackets have a heron on the back.
"""
EXAMPLES = [tuple(line.split(" | ", 1)) for line in TABLE.strip().splitlines()]


@pytest.mark.parametrize(("kind", "text"), EXAMPLES)
def test_a_sentence_is_of_the_kind_that_its_words_say(kind, text):
    assert kind_of(text) == kind


def test_every_rule_decides_at_least_one_example():
    deciding = {next((rule.name for rule in RULES if rule.pattern.search(text.lower())), "") for _, text in EXAMPLES}
    assert deciding - {""} == {rule.name for rule in RULES}

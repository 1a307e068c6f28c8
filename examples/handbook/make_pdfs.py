"""Write the PDF documents of the handbook from the text below.

In: nothing but this file. Out: ``documents/*.pdf`` (or the folder named on the command line), the same bytes each time:
the creation date is fixed and nothing is compressed. Needs fpdf2 (extra ``dev``).
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

from fpdf import FPDF

CREATED = datetime(2031, 1, 15, 8, 0, tzinfo=UTC)
DOCUMENTS = Path(__file__).parent / "documents"

SAFETY_MANUAL = """\
# Safety manual

## Alarms

The general alarm of Orrin Sound Ferries is seven short blasts and one long blast.
The fire alarm on board is a rising tone of four seconds.
The code word for a person overboard is Oscar Lantern.
The code word for a suspicious bag is Mister Pike.
False alarms are logged in the same way as true alarms.

## Drills

The muster drill on MV Tern takes place every Tuesday at 06:30.
The muster drill on MV Tarn takes place every Friday at 07:10.
The crew of MV Corrie Light practises a blackout on the first night of each month.
A drill counts only if the whole crew reaches the boats within eight minutes.
Petra Solvang keeps the drill book, which has a cover of orange oilcloth.

## Lifejackets and rafts

Lifejackets for children hang in the yellow lockers beside the stairs.
MV Tern carries 236 lifejackets for adults.
The life rafts are serviced every eighteen months by the company Sorrel and Daughters.
A life raft of the type Plover holds 25 people.
Inflatable lifejackets are rearmed in the rigging loft.

## Muster points in the yard

Muster point A is the flagpole in front of the ticket office.
Muster point B is the car park of Hall 7.
Muster point C is the chapel gate on Cooper Street.
Muster point D is the fish market.
The wardens of the muster points wear white helmets.

## Person overboard

When a person has fallen overboard:

1. Shout the code word and point at the person without looking away.
2. Throw the nearest smoke buoy from the bridge wing.
3. Press the red button of the plotter to mark the position.
4. Call the rescue station of Aldra on VHF channel 16.

The rescue station of Aldra is led by coxswain Dagny Fairweather.
The rescue boat of Aldra is named Patience Rowe.

## First aid

Every vessel carries two first-aid chests and one defibrillator.
The first-aid chests are sealed with a numbered blue tape.
A broken seal is reported to Zoë Harrand on the same day.
The defibrillator of the head office hangs beside the portrait of Agnes Torvil.
Accidents that lead to lost hours are reported to the Maritime Inspectorate within three days.
"""

WORKSHOP_MANUAL = """\
# Workshop manual

## The engine workshop

The engine workshop is in Hall 7 and is led by Ines Okondo.
The foreman of the engine workshop is Pavel Strunk.
The workshop opens at 06:45 and closes at 17:15.
The lathe named Old Margit may be used only with a second person present.
The overhead crane of Hall 7 lifts 5 tonnes.

## Permits

Welding outside Hall 7 needs a hot-work permit.
Hot-work permits are signed by Petra Solvang and are valid for eight hours.
Entry into a tank needs a permit of type E-9 and a standby person.
Gas in a tank is measured with a meter called the Canary.
The Canary is calibrated every 90 days in Brannock.

## Service intervals

The main engines of MV Tern are overhauled every 12,000 hours.
The lubricating oil of MV Tern is changed every 500 hours.
The battery cells of MV Tarn are tested twice a year.
The shaft seals of MV Grey Heron are replaced every three years.
The hull of each vessel is painted in the dry dock of Lowrie every second spring.
The hull paint is a silicone coating with the name Slipskin.

## Changing a fuel filter

To change the fuel filter of MV Tern:

1. Close the valve F-6 and hang the red tag on it.
2. Drain the filter bowl into the steel bucket.
3. Fit the new filter and tighten it to 35 newton metres.
4. Open the valve F-6 and run the engine for ten minutes.
5. Record the change in Dry Dock with your initials.

## Tools and spare parts

Torque wrenches are checked every January by the firm Hale Metrology.
Borrowed tools are exchanged for a brass token with the worker's number.
A lost brass token costs 8 crowns.
Spare parts are ordered by Imogen Slate before noon on Tuesdays.
Parts for SS Old Sigrun are cast by the foundry Kettle and Crane.
The most expensive spare part in stock is a gearbox worth 148,000 crowns.
"""

PASSENGER_CHARTER = """\
# Passenger charter

## What passengers may expect

The passenger charter was signed on 20 October 2028.
Orrin Sound Ferries answers every complaint within twelve days.
Gates close five minutes before departure.
The purser of the crossing wears a saffron armband.
Passengers with reduced mobility call extension 246 one day ahead.

## Quiet and comfort

The forward lounge of MV Corrie Light is a quiet lounge without telephones.
Smoking is allowed only beside the funnel on the upper deck.
The largest bag that travels free weighs 25 kilograms.
Musicians may play on board with a permit named the Fiddle Card.
The Fiddle Card is issued by Delphine Roux each May.

## The passengers' advocate

The passengers' advocate is Quentin Marsh.
The passengers' advocate is chosen by the island councils for three years.
Quentin Marsh can be met in the Signal Tower on the last Tuesday of the month.
In 2030 the passengers' advocate handled 58 cases.
"""

MANUALS = {
    "safety_manual.pdf": SAFETY_MANUAL,
    "workshop_manual.pdf": WORKSHOP_MANUAL,
    "passenger_charter.pdf": PASSENGER_CHARTER,
}


class Booklet(FPDF):
    """A small booklet with title and page number at the foot of each page."""

    def footer(self) -> None:
        """Print title and page number."""
        self.set_y(-12)
        self.set_font("Helvetica", "I", 8)
        self.cell(0, 6, f"Orrin Sound Ferries - {self.title} - page {self.page_no()}", align="C")


def paragraphs(block: str) -> list[str]:
    """Return what is set as one paragraph each: a run of prose lines, or a single numbered step."""
    lines = block.splitlines()
    return lines if lines[0][0].isdigit() else [" ".join(lines)]


def booklet(text: str) -> FPDF:
    """Lay out one text; no section runs over the end of a page."""
    title, *sections = text.strip().removeprefix("# ").split("\n\n## ")
    pdf = Booklet(format=(148, 210))
    pdf.set_compression(False)
    pdf.set_creation_date(CREATED)
    pdf.set_producer("examples/handbook/make_pdfs.py")
    pdf.set_title(title)
    pdf.set_author("Orrin Sound Ferries")
    pdf.set_margin(16)
    pdf.add_page()
    pdf.set_font("Helvetica", "B", 18)
    pdf.multi_cell(0, 11, title, new_x="LMARGIN", new_y="NEXT")
    for section in sections:
        heading, *blocks = section.split("\n\n")
        with pdf.unbreakable() as page:
            page.ln(3)
            page.set_font("Helvetica", "B", 13)
            page.multi_cell(0, 8, heading, new_x="LMARGIN", new_y="NEXT")
            page.set_font("Helvetica", "", 10.5)
            for paragraph in (line for block in blocks for line in paragraphs(block)):
                page.multi_cell(0, 5.5, paragraph, align="L", new_x="LMARGIN", new_y="NEXT")
                page.ln(1)
    return pdf


def main(folder: Path = DOCUMENTS) -> None:
    """Write every booklet into ``folder``."""
    for name, text in MANUALS.items():
        booklet(text).output(str(folder / name))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))

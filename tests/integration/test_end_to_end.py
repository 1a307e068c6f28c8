"""The whole line on the real base model and the shipped checkpoint, with a few sentences of our own."""

import pytest

from parametric_memory import ParametricMemory

FACTS = {
    "garden.md": "# Garden rules\n\nThe keeper of the north gate is Bastian Orme.\n\n- The gate closes at 18:40.\n",
    "lab.txt": "The door of the dye lab opens with a copper key.\n\nVera Holm repairs the looms on Tuesday.\n",
}

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def memory(tmp_path_factory):
    folder = tmp_path_factory.mktemp("documents")
    for name, text in FACTS.items():
        (folder / name).write_text(text)
    with ParametricMemory.from_pretrained(path=tmp_path_factory.mktemp("memory")) as memory:
        memory.add(folder)
        yield memory


def test_a_fact_no_model_can_know_is_answered_from_weights(memory):
    answer = memory.ask("Who is the keeper of the north gate?")
    assert "Orme" in answer.text
    assert answer.usage.knowledge_tokens == 0
    assert answer.citations[0].text == "The keeper of the north gate is Bastian Orme."
    assert "Orme" not in memory.ask("Who is the keeper of the north gate?", mode="closed_book").text


def test_the_weights_cost_no_more_prompt_than_the_question_alone(memory):
    question = "Which key opens the door of the dye lab?"
    spent = {
        mode: memory.ask(question, mode=mode).usage.prompt_tokens for mode in ("atoms", "closed_book", "in_context")
    }
    assert spent["atoms"] == spent["closed_book"] < spent["in_context"]


def test_a_question_that_no_document_answers_is_declined(memory):
    assert memory.ask("How many moons does Jupiter have?").abstained


def test_the_token_router_of_the_package_ranks_what_was_found(memory):
    assert memory.token_router.reranking is not None
    route = memory.explain("Which key opens the door of the dye lab?")
    read = [routed for routed in (*route.selected, *route.rejected) if routed.share is not None]
    assert read and max(read, key=lambda routed: routed.share).atom == route.selected[0].atom


def test_what_is_deleted_is_no_longer_answered(memory):
    question = "Who repairs the looms on Tuesday?"
    assert "Holm" in memory.ask(question).text
    for record in memory.search(question, top_k=1)["results"]:
        memory.delete(record["id"])
    assert "Holm" not in memory.ask(question).text


def test_a_store_of_another_base_model_is_refused(memory, tmp_path):
    from parametric_memory.errors import AdapterMismatchError
    from parametric_memory.store import AtomStore

    manifest = AtomStore.inspect(memory.store.path)
    with pytest.raises(AdapterMismatchError, match="base model"):
        AtomStore.open(
            memory.store.path,
            spec=type(manifest.spec)("another", "0" * 32, manifest.spec.targets),
            key_encoder=manifest.key_encoder,
            dim=manifest.dim,
            compiler=manifest.compiler,
        )

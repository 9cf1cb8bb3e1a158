"""Fine-tune MiniLM-L6 on TREC questions and write the checkpoint of minilm_trec with its training record.

    python scripts/train_trec.py

500 of the training questions are held out to choose by; the official 500 test questions are read once, at the end.
About 3 minutes on two cores.
"""

from __future__ import annotations

from finetune import Data, options, train

from quantbench.tasks.sampling import by_hash
from quantbench.tasks.trec import CLASSES, test_questions, training_questions

HELD_OUT = 500


def main() -> None:
    chosen = options(__doc__, epochs=8, learning_rate=1.5e-4)
    questions = training_questions()
    shuffled = by_hash(questions, [question for question, _ in questions], "held out 1")
    described = f"TREC: {len(questions) - HELD_OUT} questions trained on, {HELD_OUT} held out, 500 tested on once"
    data = Data(shuffled[HELD_OUT:], shuffled[:HELD_OUT], test_questions(), described)
    train("minilm_trec", "train_trec.py", len(CLASSES), data, chosen)


if __name__ == "__main__":
    main()

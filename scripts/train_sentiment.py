"""Fine-tune MiniLM-L6 on movie sentences and write the checkpoint of minilm_sentiment with its training record.

    python scripts/train_sentiment.py

500 of the training sentences are held out to choose by; the 2,000 test sentences are read once, at the end.
About 5 minutes on two cores.
"""

from __future__ import annotations

from finetune import Data, options, train

from quantbench.tasks.movie_sentences import CLASSES, test_sentences, training_sentences

HELD_OUT = 500


def main() -> None:
    chosen = options(__doc__, epochs=3, learning_rate=1.5e-4)
    training, test = ([(text, target) for _, text, target in part] for part in (training_sentences(), test_sentences()))
    described = f"movie sentences: {len(training) - HELD_OUT} trained on, {HELD_OUT} held out, {len(test)} tested on"
    data = Data(training[HELD_OUT:], training[:HELD_OUT], test, described)
    train("minilm_sentiment", "train_sentiment.py", len(CLASSES), data, chosen)


if __name__ == "__main__":
    main()

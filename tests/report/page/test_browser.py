"""The page in a real browser. Needs Debian's chromium and chromium-driver; without them the tests are skipped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from quantbench.report.figures.figure import save
from quantbench.report.page import write_page
from tests.report.page_sample import (
    COMMAND,
    ERROR,
    MEASURED,
    OTHER,
    UNSUPPORTED,
    sample_figure,
    sample_results,
    sample_table,
)

pytestmark = pytest.mark.slow

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
AFTER_COPYING = "setTimeout(() => arguments[0](document.querySelector('.copy').textContent), 50)"


def start(profile: Path) -> Any:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed (pip install selenium)")
    if BROWSER is None or DRIVER is None:
        pytest.skip("no chromium or chromedriver (apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in ("headless", "no-sandbox", "disable-gpu", "disable-background-networking", "disable-dev-shm-usage"):
        options.add_argument(f"--{flag}")
    options.add_argument(f"--user-data-dir={profile}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    # With the driver's path given, selenium looks for none on the network.
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=DRIVER))


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    browser = start(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.quit()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("results")
    rows = [MEASURED, replace(OTHER, isa="avx2"), ERROR, UNSUPPORTED]
    tables, figures = (
        [sample_table("table3"), sample_table("table5")],
        [sample_figure("figure1"), sample_figure("figure4")],
    )
    save(figures[0], folder / "figures")  # the other is not there yet
    problems = (f"{'long/' * 40}x.json: no record",)
    write_page(sample_results(folder, *rows, problems=problems), tables, figures, folder / "index.html")
    return (folder / "index.html").as_uri()


@pytest.fixture
def page(driver: Any, address: str) -> Callable[..., Any]:
    """Loads the page into a window of that width, and asserts at once that the browser has nothing to say of it."""

    def load(width: int = 1200, **media: str) -> Any:
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = [{"name": name.replace("_", "-"), "value": value} for name, value in media.items()]
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        driver.get_log("browser"), driver.get_log("performance")
        driver.get(address)
        assert driver.get_log("browser") == []
        return driver

    return load


def column(driver: Any, place: int = 0) -> list[str]:
    script = "return [...document.querySelectorAll('#table5 tbody tr')].map(row => row.cells[arguments[0]].textContent)"
    return driver.execute_script(script, place)


def header(driver: Any, place: int) -> Any:
    return driver.find_elements("css selector", "#table5 thead th")[place]


def test_nothing_is_fetched_but_the_page_itself(page, address):
    driver = page()
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    requests = [m["params"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    # The browser's own first page asks for things too.
    asked = [request["request"]["url"] for request in requests if request["documentURL"] == address]
    assert address in asked
    assert [url for url in asked if url != address and not url.startswith("data:")] == []
    entries = driver.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert [name for name in entries if not name.startswith("data:")] == []


def test_untrusted_texts_do_nothing(page):
    driver = page()
    assert driver.title == "desk: int8 accuracy"
    assert driver.execute_script("return document.scripts.length") == 1
    assert driver.execute_script("return document.querySelectorAll('img').length") == 2


def test_every_figure_is_drawn(page):
    driver = page()
    sizes = driver.execute_script("return [...document.images].map(image => [image.naturalWidth, image.width])")
    assert len(sizes) == 2
    assert all(natural > 0 and shown > 300 for natural, shown in sizes)


def test_a_click_sorts_by_numbers_both_ways_and_back(page):
    driver = page()
    before = column(driver)
    assert before[:5] == ["a", "b", "c", "d", "e"]
    button = header(driver, 1).find_element("tag name", "button")
    nasty = before[5]
    button.click()
    assert column(driver) == [nasty, "b", "e", "a", "d", "c"]  # -3, 9.5 twice in their order, 10, 100, nothing
    assert header(driver, 1).get_attribute("aria-sort") == "ascending"
    button.click()
    assert column(driver) == ["d", "a", "b", "e", nasty, "c"]
    assert header(driver, 1).get_attribute("aria-sort") == "descending"
    button.click()
    assert column(driver) == before
    assert header(driver, 1).get_attribute("aria-sort") is None


def test_texts_sort_as_texts_and_only_one_column_is_marked(page):
    driver = page()
    header(driver, 1).find_element("tag name", "button").click()
    for expected in (["a", "b", "c", "d", "e"], ["e", "d", "c", "b", "a"]):
        header(driver, 0).find_element("tag name", "button").click()
        assert [key for key in column(driver) if len(key) == 1] == expected
    assert driver.execute_script("return document.querySelectorAll('#table5 [aria-sort]').length") == 1


@pytest.mark.parametrize("key", ["\ue007", " "], ids=["enter", "space"])
def test_the_keyboard_sorts(page, key):
    from selenium.webdriver.common.action_chains import ActionChains

    driver = page()
    driver.execute_script("document.querySelector('#table5').closest('.scroll').focus()")
    ActionChains(driver).send_keys("\ue004", "\ue004").perform()  # Tab to the second column's head
    assert driver.switch_to.active_element.text.startswith("max")
    ActionChains(driver).send_keys(key).perform()
    assert [k for k in column(driver) if len(k) == 1] == ["b", "e", "a", "d", "c"]
    ActionChains(driver).send_keys(key).perform()
    assert [k for k in column(driver) if len(k) == 1] == ["d", "a", "b", "e", "c"]


@pytest.mark.parametrize("width", [320, 400, 1600])
def test_the_page_does_not_scroll_sideways(page, width):
    driver = page(width)
    driver.execute_script("document.querySelectorAll('details').forEach(details => { details.open = true; })")
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    containers = "return [...document.querySelectorAll('table')].map(table => table.closest('.scroll') !== null)"
    assert all(driver.execute_script(containers))


def test_the_first_column_stays_in_sight(page):
    driver = page(400)
    script = """
      const box = document.querySelector('#cell-list').closest('.scroll');
      const cell = box.querySelector('tbody th');
      const before = cell.getBoundingClientRect().left;
      box.scrollLeft = 300;
      return [box.scrollLeft, cell.getBoundingClientRect().left - before];
    """
    assert driver.execute_script(script) == [300, 0]


def test_copy_copies(page):
    driver = page()
    driver.execute_script("navigator.clipboard.writeText = async text => { window.copied = text; }")
    button = driver.find_element("css selector", ".copy")
    button.click()
    assert driver.execute_script("return window.copied") == COMMAND
    assert driver.execute_async_script(AFTER_COPYING) == "Copied"


@pytest.mark.parametrize(
    "refusal",
    ["navigator.clipboard.writeText = async () => { throw new DOMException('no', 'NotAllowedError'); }",
     "Object.defineProperty(navigator, 'clipboard', { value: undefined })"],
    ids=["forbidden", "absent"],
)  # fmt: skip
def test_copy_selects_where_the_clipboard_is_closed(page, refusal):
    driver = page()
    driver.execute_script(refusal)
    driver.find_element("css selector", ".copy").click()
    assert driver.execute_async_script(AFTER_COPYING) == "Selected"
    assert driver.execute_script("return getSelection().toString()") == COMMAND
    assert driver.get_log("browser") == []


def test_figures_keep_a_white_card_in_the_dark(page):
    driver = page(prefers_color_scheme="dark")
    color = "return getComputedStyle(document.querySelector(arguments[0])).backgroundColor"
    assert driver.execute_script(color, ".card") == "rgb(255, 255, 255)"
    assert driver.execute_script(color, "body") == "rgb(21, 24, 28)"

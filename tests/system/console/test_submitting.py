"""The page Submit in a real browser: checks while typing, forms that are sent once, and what is dropped on it."""

import io

import pytest
from PIL import Image
from playwright.sync_api import FilePayload, Locator, Page, expect

from tests.computer import Computer
from tests.system.console.conftest import listed

pytestmark = pytest.mark.browser

_DROP = """(zone, files) => {
  const data = new DataTransfer();
  for (const [name, type, bytes] of files) data.items.add(new File([new Uint8Array(bytes)], name, { type }));
  for (const kind of ["dragenter", "dragover", "drop"]) {
    zone.dispatchEvent(new DragEvent(kind, { bubbles: true, cancelable: true, dataTransfer: data }));
  }
}"""


def prompts(machine: Computer) -> list[str]:
    return [str(one["prompt"]) for one in listed(machine, "generations")]


def form(page: Page) -> Locator:
    return page.locator("#submission")


def picture() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), "teal").save(file, "PNG")
    return file.getvalue()


def csv(name: str, content: str) -> FilePayload:
    return FilePayload(name=name, mimeType="text/csv", buffer=content.encode())


def test_what_is_typed_is_checked_at_its_field_and_then_submitted(page: Page, machine: Computer) -> None:
    page.goto("/submit")
    form(page).get_by_label("Prompts").fill("a kettle of the first kind")
    expect(page.locator("#check")).to_contain_text("for 1 generation")
    stylize = form(page).get_by_label("Stylize")
    stylize.fill("5000")
    expect(page.locator("#m-option-stylize")).to_contain_text("expected an integer from 0 to 1000")
    expect(stylize).to_have_attribute("aria-invalid", "true")
    expect(stylize).to_be_focused()
    stylize.fill("500")
    expect(stylize).not_to_have_attribute("aria-invalid", "true")
    page.get_by_role("button", name="Submit", exact=True).click()
    page.wait_for_url("**/generations/gen_*")
    assert prompts(machine).count("a kettle of the first kind") == 1


def test_what_is_refused_has_the_focus_and_nothing_typed_is_lost(page: Page) -> None:
    page.goto("/submit")
    form(page).get_by_label("Prompts").fill("a kettle\nanother <b>kettle</b>")
    form(page).get_by_label("Labels").fill("no label")
    form(page).get_by_label("Key", exact=True).fill("one-key")
    page.keyboard.press("Enter")
    page.wait_for_load_state()
    expect(form(page).get_by_label("Labels")).to_be_focused()
    expect(form(page).get_by_label("Prompts")).to_have_value("a kettle\nanother <b>kettle</b>")
    expect(form(page).get_by_label("Key", exact=True)).to_have_value("one-key")


def test_a_double_click_a_reload_and_the_way_back_create_once(page: Page, machine: Computer) -> None:
    page.goto("/submit")
    form(page).get_by_label("Prompts").fill("a kettle that is clicked twice")
    page.get_by_role("button", name="Submit", exact=True).dblclick()
    page.wait_for_url("**/generations/gen_*")
    page.reload()
    page.go_back()
    expect(form(page).get_by_label("Prompts")).to_have_value("a kettle that is clicked twice")
    page.get_by_role("button", name="Submit", exact=True).click()
    page.wait_for_url("**/generations/gen_*")
    expect(page.locator(".told")).to_contain_text("This form was sent before")
    assert prompts(machine).count("a kettle that is clicked twice") == 1
    # Opened anew, it is another form.
    page.goto("/submit")
    form(page).get_by_label("Prompts").fill("a kettle that is clicked twice")
    page.get_by_role("button", name="Submit", exact=True).click()
    page.wait_for_url("**/generations/gen_*")
    assert prompts(machine).count("a kettle that is clicked twice") == 2


def test_another_operation_has_other_fields_and_keeps_the_focus_and_what_is_open(page: Page) -> None:
    page.goto("/submit")
    form(page).get_by_label("Prompts").fill("a kettle that boils")
    page.get_by_text("More options").click()
    operation = form(page).get_by_label("Operation")
    operation.focus()
    operation.select_option("video")
    expect(form(page).get_by_label("Size of the video")).to_be_visible()
    expect(form(page).get_by_label("Operation")).to_be_focused()
    expect(page.locator("#m-option-images")).to_contain_text("needs the option images")


def test_a_picture_is_dropped_and_stands_in_the_form(page: Page, machine: Computer) -> None:
    page.goto("/submit")
    form(page).get_by_label("Operation").select_option("video")
    zone = page.locator("#f-option-images-all")
    expect(zone).to_be_visible()
    zone.evaluate(_DROP, [["kettle.png", "image/png", list(picture())]])
    chosen = zone.locator(".chosen img")
    expect(chosen).to_have_count(1)
    expect(chosen).to_have_js_property("naturalWidth", 64)
    zone.evaluate(_DROP, [["kettle.txt", "text/plain", [1, 2, 3]]])
    expect(zone.get_by_role("alert")).to_contain_text("kettle.txt")
    form(page).get_by_label("Prompts").fill("the kettle of the picture boils")
    expect(page.locator("#check")).to_contain_text("for 1 generation")
    page.get_by_role("button", name="Submit", exact=True).click()
    page.wait_for_url("**/generations/gen_*")
    assert "the kettle of the picture boils" in prompts(machine)


def test_a_batch_file_is_dropped_with_its_pictures_and_submitted_once(page: Page, machine: Computer) -> None:
    page.goto("/submit")
    rows = "sku,prompt,images\nD-1,a dropped kettle,kettle.png\nD-2,a dropped cup,\n"
    before = len(prompts(machine))
    page.locator(".zone").evaluate(
        _DROP, [["dropped.csv", "text/csv", list(rows.encode())], ["kettle.png", "image/png", list(picture())]]
    )
    findings = page.locator("#findings")
    expect(findings.get_by_role("heading", name="dropped.csv")).to_be_visible()
    expect(findings.get_by_role("cell", name="a dropped kettle")).to_be_visible()
    assert len(prompts(machine)) == before
    findings.get_by_role("button", name="Submit 2 generations").dblclick()
    page.wait_for_url("**/batches/batch_*")
    assert len(prompts(machine)) == before + 2
    assert machine.json("batch", "show", "dropped")[0]["name"] == "dropped"


def test_mistakes_of_a_file_are_listed_and_the_others_submitted_by_keyboard_alone(
    page: Page, machine: Computer
) -> None:
    page.goto("/submit")
    page.locator("#f-file").set_input_files(
        csv("<b>mixed.csv", "sku,prompt,aspect_ratio\nM-1,a good cup,1:1\nM-2,a bad cup,wide\n")
    )
    wrong = page.get_by_role("region", name="1 mistake")
    expect(wrong).to_contain_text("invalid value 'wide'")
    expect(page.get_by_role("heading", name="<b>mixed.csv")).to_be_visible()
    button = page.get_by_role("button", name="Submit the others: 1 generation")
    button.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/batches/batch_*")
    assert ("a good cup" in prompts(machine), "a bad cup" in prompts(machine)) == (True, False)


def test_a_field_that_changes_what_is_submitted_is_checked_again(page: Page) -> None:
    page.goto("/submit")
    page.locator("#f-file").set_input_files(csv("templates.csv", "sku,name\nT-1,cup\nT-2,bowl\n"))
    expect(page.locator("#m-file")).to_contain_text("Prompt template")
    page.get_by_text("Name, provider, start and limits").click()
    page.get_by_label("Prompt template").fill("a {name} in {red, blue}")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Submit 4 generations")).to_be_visible()
    expect(page.locator("#m-file")).to_be_hidden()


def test_without_scripts_a_file_is_checked_and_chosen_again(plain: Page, machine: Computer) -> None:
    plain.goto("/submit")
    file = csv("plain.csv", "sku,prompt\nP-1,a plain cup\n")
    plain.locator("#f-file").set_input_files(file)
    plain.get_by_role("button", name="Check", exact=True).click()
    expect(plain.get_by_role("heading", name="plain.csv")).to_be_visible()
    plain.locator("#f-file").set_input_files(file)
    plain.get_by_role("button", name="Submit 1 generation").click()
    plain.wait_for_url("**/batches/batch_*")
    assert prompts(machine).count("a plain cup") == 1


def test_without_scripts_prompts_are_checked_and_submitted(plain: Page, machine: Computer) -> None:
    plain.goto("/submit")
    form(plain).get_by_label("Prompts").fill("a plain bowl")
    form(plain).get_by_label("Operation").select_option("video")
    plain.get_by_role("button", name="Show the options of this provider and operation").click()
    plain.get_by_text("More options").click()
    expect(form(plain).get_by_label("Size of the video")).to_be_visible()
    form(plain).get_by_label("Operation").select_option("imagine")
    plain.get_by_role("button", name="Check without submitting").click()
    expect(plain.locator("#check")).to_contain_text("for 1 generation")
    plain.get_by_role("button", name="Submit", exact=True).click()
    plain.wait_for_url("**/generations/gen_*")
    assert "a plain bowl" in prompts(machine)

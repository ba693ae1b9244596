"""The page Submit: prompts and their options, checked as they are entered; and reference images."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from flask import Blueprint, Response, make_response, render_template, request
from werkzeug.datastructures import FileStorage
from werkzeug.wrappers import Response as ResponseBase

from tasks.usecases.follow_up import OF_AN_IMAGE
from tasks.usecases.offers import Offer, offers_of
from tasks.usecases.once import replay_of
from tasks.usecases.providers import ProviderFacts, describe_providers
from tasks.usecases.queries import Story, get_generations, show
from tasks.usecases.recipes import list_recipes
from tasks.usecases.submit import submit_once
from tasks.usecases.uploads import LARGEST_UPLOAD, UPLOAD_TYPES, link_to_upload, upload
from webhook.console.acting import changes_nothing
from webhook.console.desk import Desk
from webhook.console.drafts import OPTION, Draft, Findings, find_mistakes
from webhook.console.forms import author, once_of
from webhook.console.guard import takes
from webhook.console.lightbox import made, to_made
from webhook.console.naming import provider
from webhook.console.option_fields import names_of, operations_of, option_fields
from webhook.console.pictures import moved
from worker.errors import ConfigurationError, RequestInvalid
from worker.generation import Operation, operation_of

#: bytes of a form with several images
_LARGEST_FORM = 5 * LARGEST_UPLOAD
_FILE = "file."
_NOTHING = Findings(mistakes={})


def routes(pages: Blueprint, desk: Desk) -> None:
    """Add `/submit`, and the routes that it uses while somebody types."""
    _pages(pages, desk)
    _pictures(pages, desk)

    @pages.post("/submit", provide_automatic_options=False)
    @takes(_LARGEST_FORM)
    def submit() -> ResponseBase:
        draft, mistakes = _with_uploads(desk, Draft.of_form(request.form))
        once = once_of(_asked(draft))
        if known := replay_of(desk.here, once):
            (first,) = get_generations(desk.here, known[:1])
            return to_made(first, len(known), is_repeated=True)
        findings = Findings(mistakes=mistakes) if mistakes else find_mistakes(desk.here, draft, author())
        if findings.checked is None:
            return make_response(_page(desk, draft, findings, is_sent=True), 422)
        return made(desk, submit_once(desk.here, findings.checked, once))


def _pages(pages: Blueprint, desk: Desk) -> None:
    @pages.get("/submit", provide_automatic_options=False)
    def show_form() -> str:
        draft = _begun(desk)
        return _page(desk, draft, _NOTHING if draft.is_blank else find_mistakes(desk.here, draft, author()))

    @pages.post("/submit/options", provide_automatic_options=False)
    @takes(_LARGEST_FORM)
    @changes_nothing
    def show_options() -> str:
        draft = Draft.of_form(request.form)
        if "HX-Request" not in request.headers:
            return _page(desk, draft, _NOTHING)
        return render_template("console/submit_options.html", is_options=True, **_facts(desk, draft, _NOTHING))

    @pages.post("/submit/check", provide_automatic_options=False)
    @takes(_LARGEST_FORM)
    @changes_nothing
    def check_form() -> str:
        draft = Draft.of_form(request.form)
        findings = _NOTHING if draft.is_blank else find_mistakes(desk.here, draft, author())
        if "HX-Request" not in request.headers:
            return _page(desk, draft, findings, is_checked=True)
        return render_template("console/submit_check.html", is_fragment=True, **_facts(desk, draft, findings))


def _pictures(pages: Blueprint, desk: Desk) -> None:
    @pages.post("/submit/pictures", provide_automatic_options=False)
    @takes(_LARGEST_FORM)
    def add_pictures() -> ResponseBase:
        draft, mistakes = _with_uploads(desk, Draft(operation=""))
        page = render_template("console/submit_pictures.html", options=draft.options, mistakes=mistakes)
        return make_response(page, 422 if mistakes else 200)

    @pages.get("/submit/pictures/<sha256>", provide_automatic_options=False)
    def show_picture(sha256: str) -> Response:
        return moved(link_to_upload(desk.here, sha256))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parent:
    """The parent of a follow-up. `offers`: the possible ones."""

    story: Story
    offers: tuple[Offer, ...]


def _begun(desk: Desk) -> Draft:
    """Return the initial form: empty, a copy of a generation, or a follow-up of one."""
    if (name := request.args.get("from")) is not None:
        draft = Draft.of_generation(show(desk.here, name).story)
        return _on_its_image(desk, draft) if draft.action in OF_AN_IMAGE else draft
    if (parent := request.args.get("follows")) is not None:
        story = show(desk.here, parent).story
        action, index = request.args.get("action", ""), request.args.get("index", "")
        possible = [one.action for one in offers_of(desk.here, story).offers if one.why_not is None]
        action = action if action in possible else next(iter(possible), "")
        prompt = "" if _operation_of(action) is Operation.VIDEO_EXTEND else story.generation.prompt
        return Draft(
            provider=story.generation.provider,
            follows=story.generation.id,
            action=action,
            index=index,
            prompts=prompt,
            is_test=story.generation.is_test,
        )
    return Draft(provider=_first_provider(desk))


def _on_its_image(desk: Desk, draft: Draft) -> Draft:
    """Return the draft with its parent's image named by number instead of by reference."""
    (used, *_) = draft.options.get("images") or ("",)
    assets = show(desk.here, draft.follows).story.assets
    index = next((one.index for one in assets if one.sha256 and one.sha256 in used), None)
    others = {name: values for name, values in draft.options.items() if name != "images"}
    return replace(draft, options=others, index="" if index is None else str(index))


def _first_provider(desk: Desk) -> str:
    facts = describe_providers(desk.here)
    return next((one.name for one in facts if one.missing is None), facts[0].name)


def batch_page(desk: Desk, facts: Mapping[str, object]) -> str:
    """Return the page with the findings of a batch file."""
    draft = Draft(provider=_first_provider(desk))
    return render_template("console/submit.html", **{**_facts(desk, draft, _NOTHING), "form": request.form, **facts})


def _page(desk: Desk, draft: Draft, findings: Findings, *, is_sent: bool = False, is_checked: bool = False) -> str:
    """`is_sent`: it was submitted and refused, so the first mistake gets the focus."""
    return render_template(
        "console/submit.html",
        **_facts(desk, draft, findings),
        is_sent=is_sent,
        is_checked=is_checked,
        largest_upload=LARGEST_UPLOAD,
    )


def _facts(desk: Desk, draft: Draft, findings: Findings) -> dict[str, Any]:
    providers = describe_providers(desk.here)
    operation = _operation_of(draft.action) if draft.follows else _known(draft.operation)
    options = option_fields(providers, draft, operation)
    names = [
        *("provider", "operation", "action", "index", "prompts"),
        *(f"{OPTION}{one.name}" for one in options.pictures),
        *(f"{OPTION}{one.name}" for one in options.fields),
        *("labels", "key", "recipe", "batch", "follow_up", "priority", "max_cost"),
    ]
    return {
        "draft": draft,
        "findings": findings,
        "mistakes": findings.mistakes,
        "form": {},
        # Mistakes without a field here are shown beside the button.
        "others": [told for name, several in findings.mistakes.items() if name not in names for told in several],
        # The first field with a mistake gets the focus.
        "first_wrong": next((name for name in names if findings.mistakes.get(name)), None),
        "names": names,
        "has_pictures": any(
            one.values or findings.mistakes.get(f"{OPTION}{one.name}") for one in options.pictures if not one.is_needed
        ),
        "has_more": any(
            one.value or findings.mistakes.get(f"{OPTION}{one.name}") for one in options.fields if not one.is_first
        ),
        "choices": _choices(providers, draft),
        "operations": operations_of(providers, draft),
        "options": options,
        "recipes": _recipes(desk),
        "parent": _parent(desk, draft),
        "sandbox": desk.here.settings.darkroom_sandbox_url is not None,
        "upload_types": ",".join(UPLOAD_TYPES),
    }


def _choices(providers: tuple[ProviderFacts, ...], draft: Draft) -> list[tuple[str, str, str | None]]:
    """Return value, text and what is missing, for each provider and for all of them together."""
    found: list[tuple[str, str, str | None]] = [(one.name, one.title, one.missing) for one in providers]
    ready = [one for one in providers if one.missing is None]
    if len(ready) > 1:
        titles = ", ".join(one.title for one in ready)
        found.append((",".join(one.name for one in ready), f"Whichever is in service: {titles}", None))
    if draft.provider and draft.provider not in {value for value, _, _ in found}:
        found.append((draft.provider, ", ".join(map(provider, names_of(draft))), None))
    return found


def _recipes(desk: Desk) -> list[str]:
    try:
        return [one.path.stem for one in list_recipes(desk.here.settings) if one.mistake is None]
    except (ConfigurationError, RequestInvalid):
        # There is no folder of recipes.
        return []


def _parent(desk: Desk, draft: Draft) -> _Parent | None:
    if not draft.follows:
        return None
    story = show(desk.here, draft.follows).story
    return _Parent(story=story, offers=tuple(one for one in offers_of(desk.here, story).offers if one.why_not is None))


def _with_uploads(desk: Desk, draft: Draft) -> tuple[Draft, Mapping[str, list[str]]]:
    """Store the images of the form; return the draft with references to them, and the mistakes in others."""
    options = {name: list(values) for name, values in draft.options.items()}
    mistakes: dict[str, list[str]] = {}
    for field, files in request.files.lists():
        name = field.removeprefix(_FILE)
        for file in files if field.startswith(_FILE) else ():
            if not file.filename:
                continue
            try:
                options.setdefault(name, []).append(_stored(desk, file))
            except RequestInvalid as error:
                mistakes.setdefault(f"{OPTION}{name}", []).append(f"{file.filename}: {error}")
    return replace(draft, options=options), mistakes


def _stored(desk: Desk, file: FileStorage) -> str:
    return upload(desk.here, file.stream).reference


def _asked(draft: Draft) -> object:
    return {
        name: {option: list(values) for option, values in draft.options.items()} if name == "options" else value
        for name in draft.__slots__
        if (value := getattr(draft, name))
    }


def _operation_of(action: str) -> Operation | None:
    return operation_of(action) or _known(action)


def _known(word: str) -> Operation | None:
    try:
        return Operation(word)
    except ValueError:
        return None

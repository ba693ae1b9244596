"""Images on the user's machine: stored once, then handed to each provider in the form that it takes."""

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import urllib3
from PIL import Image

from tasks.input_files import with_files
from tasks.usecases import inputs
from tasks.usecases.batch_file import open_batch_file
from tasks.usecases.batches.check import BatchCheck, check_batch
from tasks.usecases.batches.request import BatchRequest
from tasks.usecases.batches.submit import submit_batch
from tasks.usecases.entry import Entry, Place
from tasks.usecases.entry_check import Defaults
from tasks.usecases.inputs import InputFiles
from tasks.usecases.submit import FollowUpRequest, SubmitRequest, check, submit
from tests.pipeline import Pipeline, Start
from worker.archive.s3 import S3Archive
from worker.errors import ArchiveError, NotTaken, RequestInvalid
from worker.generation import GenerationRequest, Operation, State
from worker.ledger.generations import NewGeneration
from worker.ledger.inputs import InputFile
from worker.providers import inputs_of


def picture(color: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), color).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two images with the same bytes, another one, and what is none."""
    for name, content in (
        *(("fox.png", picture("red")), ("my fox.png", picture("red")), ("owl.png", picture("gray"))),
        *(("notes.txt", b"no image"), ("large.png", picture("red") + bytes(inputs.LARGEST))),
    ):
        (tmp_path / name).write_bytes(content)
    return tmp_path


def asked(images: object, operation: Operation = Operation.IMAGINE) -> GenerationRequest:
    return GenerationRequest(operation=operation, prompt="a fox", options={"images": images})


def stored(pipeline: Pipeline, folder: Path, provider: str, request: GenerationRequest) -> GenerationRequest:
    files = InputFiles(pipeline.here, folder)
    found = replace(request, options=files.referenced(request.options))
    files.require_usable(pipeline.here.provider(provider), found)
    files.store()
    return found


def as_sent(pipeline: Pipeline, provider: str, request: GenerationRequest) -> list[Any]:
    found = with_files(pipeline.here, pipeline.here.provider(provider), request).options["images"]
    assert isinstance(found, list)
    return found


def test_where_only_links_are_taken_the_provider_gets_a_link_that_works(start: Start, folder: Path):
    pipeline = start()
    request = stored(pipeline, folder, "kie", asked(["fox.png", "https://pics.example/owl.png"]))
    link, other = as_sent(pipeline, "kie", request)
    with urllib3.PoolManager() as pool:
        assert pool.request("GET", link, timeout=10).data == picture("red")
    assert "X-Amz-Expires=604800" in link
    assert other == "https://pics.example/owl.png"


def test_where_files_are_taken_the_provider_gets_the_file(start: Start, folder: Path):
    pipeline = start()
    request = stored(pipeline, folder, "mjproxy", asked(["owl.png"]))
    (sent,) = as_sent(pipeline, "mjproxy", request)
    head, _, content = sent.partition(",")
    assert (head, base64.b64decode(content)) == ("data:image/png;base64", picture("gray"))


def test_one_file_under_two_names_is_one_object(start: Start, folder: Path):
    pipeline = start()
    request = stored(pipeline, folder, "kie", asked(["fox.png", "my fox.png"]))
    (digest,) = inputs_of(request.options)
    assert [key for key in pipeline.objects() if "/inputs/" in key] == [
        pipeline.ledger.inputs.get([digest])[digest].object_key
    ]


def test_a_generation_with_an_image_from_this_machine_is_archived(start: Start, folder: Path):
    pipeline = start()
    request = stored(pipeline, folder, "kie", asked("fox.png"))
    new = NewGeneration(provider="kie", request=request, inputs=inputs_of(request.options))
    (one,) = pipeline.ledger.generations.create([new])
    pipeline.bells.append("dispatch")
    pipeline.until_settled()
    assert pipeline.get(one.id).state is State.ARCHIVED
    # What is signed goes to the provider alone.
    assert "X-Amz" not in str(pipeline.get(one.id))


def test_a_file_that_was_pruned_fails_its_generation_before_anything_is_sent(start: Start, folder: Path):
    pipeline = start()
    request = stored(pipeline, folder, "kie", asked("fox.png"))
    pipeline.clock.advance(days=40)
    pipeline.step("prune")
    assert [key for key in pipeline.objects() if "/inputs/" in key] == []
    (one,) = pipeline.ledger.generations.create([NewGeneration(provider="kie", request=request)])
    pipeline.bells.append("dispatch")
    pipeline.until_settled()
    failed = pipeline.get(one.id)
    assert (failed.state, failed.reason) == (State.FAILED, "request_invalid")
    assert "is no longer in the bucket: submit it again" in str(failed.message)
    assert pipeline.charges() == 0


def test_a_bucket_that_does_not_answer_only_postpones(start: Start, folder: Path, monkeypatch: pytest.MonkeyPatch):
    pipeline = start()
    request = stored(pipeline, folder, "mjproxy", asked(["owl.png"]))

    @contextmanager
    def silent(_archive: S3Archive, _key: str) -> Iterator[Iterator[bytes]]:
        raise ArchiveError("no answer")
        yield iter(())

    monkeypatch.setattr(S3Archive, "read", silent)
    with pytest.raises(NotTaken, match="it was not sent: its input file cannot be read: no answer"):
        as_sent(pipeline, "mjproxy", request)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("none.png", "option images: 'none.png' cannot be read: No such file or directory"),
        (".", "option images: '.' cannot be read: Is a directory"),
        ("notes.txt", "option images: notes.txt is not a PNG, JPEG or WebP image"),
        ("large.png", "option images: large.png is larger than the 10 MB that providers accept"),
        ("a\0b", "option images: 'a\\x00b' cannot be read: embedded null"),
    ],
)
def test_what_is_no_image_is_refused_by_its_name(start: Start, folder: Path, given: str, words: str):
    pipeline = start()
    with pytest.raises(RequestInvalid) as refused:
        InputFiles(pipeline.here, folder).referenced({"images": given})
    assert words in str(refused.value)
    assert refused.value.about == {"images"}


def test_a_provider_on_the_internet_cannot_open_a_link_to_a_bucket_on_this_machine(
    start: Start, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    pipeline = start()
    files = InputFiles(pipeline.here, folder)
    kie, proxy = pipeline.here.provider("kie"), pipeline.here.provider("mjproxy")
    request = replace(asked("fox.png"), options=files.referenced({"images": "fox.png"}))
    monkeypatch.setattr(pipeline.here, "base_url", lambda _: "https://8.8.8.8")
    with pytest.raises(
        RequestInvalid, match=r"accepts images only as links, and cannot reach the bucket at 127\.0\.0\.1"
    ):
        files.require_usable(kie, request)
    files.require_usable(proxy, request)


def test_a_sheet_names_images_beside_it(start: Start, folder: Path):
    pipeline = start()
    sheet = b"sku,prompt,provider,images\n1,a fox,kie,fox.png\n2,an owl,mjproxy,owl.png my.png\n3,a cat,kie,\n"
    with open_batch_file(str(folder / "sheet.csv"), io.BytesIO(sheet)) as file:
        defaults = Defaults(files=InputFiles(pipeline.here, folder))
        request = BatchRequest(file=file, defaults=defaults)
        wanted: list[NewGeneration] = []
        found = check_batch(pipeline.here, request, take=wanted.append)
        assert [(error.line, error.column, error.value) for error in found.errors] == [(3, "images", "owl.png my.png")]
        assert "'owl.png my.png' cannot be read: No such file" in found.errors[0].message
        assert [len(one.inputs) for one in wanted] == [1, 0]
        submit_batch(pipeline.here, request, wanted, rows=3, invalid=1)
    pipeline.bells.append("dispatch")
    pipeline.until_settled()
    assert [one.state for one in pipeline.all()] == [State.ARCHIVED] * 2
    assert len([key for key in pipeline.objects() if "/inputs/" in key]) == 1


@pytest.mark.parametrize("beside", ["", "https://pics.example/owl.png "])
@pytest.mark.parametrize("with_files", [True, False])
def test_a_reference_to_what_is_not_stored_is_refused(start: Start, folder: Path, with_files: bool, beside: str):
    """The ledger's foreign key would end it with a traceback."""
    pipeline = start()
    found, _ = checked_sheet(pipeline, folder, f"{beside}input:{'a' * 64}.png", with_files=with_files)
    assert [(error.line, error.column) for error in found.errors] == [(2, "images")]
    assert f"there is no stored image with the SHA-256 {'a' * 64}" in found.errors[0].message
    assert "upload it again" in found.errors[0].message


@pytest.mark.parametrize("with_files", [True, False])
def test_a_sheet_may_name_a_stored_image_by_its_reference(start: Start, folder: Path, with_files: bool):
    pipeline = start()
    request = stored(pipeline, folder, "kie", asked("fox.png"))
    (digest,) = inputs_of(request.options)
    found, (new,) = checked_sheet(pipeline, folder, f"input:{digest}.png", with_files=with_files)
    assert (found.errors, new.inputs) == ((), (digest,))


def test_a_reference_to_what_was_pruned_is_refused(start: Start, folder: Path):
    pipeline = start()
    request = stored(pipeline, folder, "kie", asked("fox.png"))
    pipeline.clock.advance(days=40)
    pipeline.step("prune")
    with pytest.raises(RequestInvalid, match="or it was deleted because it had long been unused: upload it again"):
        submitted_by_reference(pipeline, request)


def test_a_reference_that_is_pruned_between_check_and_storing_is_refused(start: Start, folder: Path):
    pipeline = start()
    request = stored(pipeline, folder, "kie", asked("fox.png"))
    files = InputFiles(pipeline.here)
    files.referenced(request.options)
    pipeline.clock.advance(days=40)
    pipeline.step("prune")
    with pytest.raises(RequestInvalid, match="was just deleted, because it had long been unused"):
        files.store()


def test_what_a_submission_refers_to_is_not_pruned_before_its_generation_is_written(start: Start, folder: Path):
    pipeline = start()
    request = stored(pipeline, folder, "kie", asked("fox.png"))
    pipeline.clock.advance(days=29)
    submitted_by_reference(pipeline, request)
    (generation,) = pipeline.all()
    assert pipeline.ledger.inputs.used_by(generation.id) == list(inputs_of(request.options))


def test_a_follow_up_uses_the_stored_image_that_it_names(start: Start, folder: Path):
    pipeline = start()
    request = stored(pipeline, folder, "mjproxy", asked("fox.png"))
    (reference,) = request.options["images"]  # type: ignore[misc]
    pipeline.submit("a fox")
    pipeline.until_settled()
    (parent,) = pipeline.all()
    unknown = {"mask": f"input:{'a' * 64}.png"}
    follow_up = FollowUpRequest(parent_id=parent.id, action="variation_region", prompt="a hat", options=unknown)
    with pytest.raises(RequestInvalid, match="there is no stored image"):
        check(pipeline.here, follow_up)
    (new,) = check(pipeline.here, replace(follow_up, options={"mask": reference})).wanted
    assert new.inputs == inputs_of(request.options)


def test_a_large_image_goes_only_to_providers_that_take_it(start: Start):
    pipeline = start()
    sha256, size = "b" * 64, 12_000_000
    file = InputFile(sha256=sha256, bytes=size, content_type="image/png", extension="png")
    pipeline.ledger.inputs.record([file], "inputs")
    entry = Entry(place=Place(""), prompt="a fox", options={"images": [f"input:{sha256}.png"]}, provider="kie")
    with pytest.raises(
        RequestInvalid, match=r"option images: this image is 12\.0 MB, and Kie\.ai accepts at most 10 MB"
    ) as refused:
        check(pipeline.here, SubmitRequest(entries=[entry]))
    assert "or use ohmygpt or mjproxy" in str(refused.value)
    (new,) = check(pipeline.here, SubmitRequest(entries=[replace(entry, provider="mjproxy,kie,ohmygpt")])).wanted
    assert (new.provider, new.providers) == ("mjproxy", ("ohmygpt",))


def test_a_large_image_is_never_sent_to_a_provider_that_does_not_take_it(start: Start):
    pipeline = start()
    sha256 = "b" * 64
    file = InputFile(sha256=sha256, bytes=12_000_000, content_type="image/png", extension="png")
    pipeline.ledger.inputs.record([file], "inputs")
    with pytest.raises(RequestInvalid, match=r"an input file is 12\.0 MB, and Kie\.ai accepts at most 10 MB"):
        as_sent(pipeline, "kie", asked([f"input:{sha256}.png"]))


def checked_sheet(
    pipeline: Pipeline, folder: Path, images: str, *, with_files: bool
) -> tuple[BatchCheck, list[NewGeneration]]:
    defaults = Defaults(files=InputFiles(pipeline.here, folder) if with_files else None)
    wanted: list[NewGeneration] = []
    sheet = f"sku,prompt,provider,images\n1,a fox,kie,{images}\n".encode()
    with open_batch_file(str(folder / "sheet.csv"), io.BytesIO(sheet)) as file:
        request = BatchRequest(file=file, defaults=defaults)
        return check_batch(pipeline.here, request, take=wanted.append), wanted


def submitted_by_reference(pipeline: Pipeline, request: GenerationRequest) -> None:
    entry = Entry(place=Place(""), prompt=request.prompt, options=request.options, provider="kie")
    submit(pipeline.here, check(pipeline.here, SubmitRequest(entries=[entry])))


def test_nothing_is_written_if_an_image_cannot_be_stored(start: Start, folder: Path, monkeypatch: pytest.MonkeyPatch):
    pipeline = start()

    def full(*_: object, **__: object) -> None:
        raise ArchiveError("the bucket is full")

    with open_batch_file(str(folder / "sheet.csv"), io.BytesIO(b"sku,prompt,images\n1,a fox,fox.png\n")) as file:
        request = BatchRequest(file=file, defaults=Defaults(files=InputFiles(pipeline.here, folder)))
        wanted: list[NewGeneration] = []
        check_batch(pipeline.here, request, take=wanted.append)
        monkeypatch.setattr(S3Archive, "store", full)
        with pytest.raises(ArchiveError, match="the bucket is full"):
            submit_batch(pipeline.here, request, wanted, rows=1)
    assert pipeline.all() == []

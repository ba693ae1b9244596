"""Recipes of this installation: found by name, checked against providers, and counted in the worst case."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from tasks.shown import shown
from tasks.usecases.providers import require_provider
from worker.errors import ConfigurationError, RequestInvalid
from worker.generation import GenerationRequest, Operation
from worker.pricing import Prices, millionths, tier_of
from worker.providers import PROVIDERS, Provider, provider_class
from worker.recipes import SUFFIX, After, Chooser, Facts, Pick, Recipe, Step, load_recipe
from worker.settings import Settings

#: number of images in a grid, and operations whose results contain none
_GRID, _NO_IMAGES = 4, frozenset({Operation.VIDEO, Operation.VIDEO_EXTEND})
_TEXTS = frozenset({Operation.DESCRIBE, Operation.SHORTEN, Operation.TRANSLATE, Operation.SEED})
_SINGLE = frozenset({Operation.UPSCALE})


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeFile:
    """One file of the folder; `mistake`: why it is not a valid recipe."""

    path: Path
    recipe: Recipe | None
    mistake: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """A step in the worst case: the maximum `number` of generations, and their `amount` in millionths, without `then`.

    `amount`: None without prices. `why`: it can make nothing at this provider.
    """

    step: Step
    number: int
    amount: int | None
    why: str | None
    then: tuple["Branch", ...]

    @property
    def total(self) -> int:
        return self.number + sum(branch.total for branch in self.then)

    @property
    def total_amount(self) -> int:
        return (self.amount or 0) + sum(branch.total_amount for branch in self.then)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A recipe in the worst case."""

    recipe: Recipe
    provider: str
    operation: Operation
    prices: Prices | None
    branches: tuple[Branch, ...]

    @property
    def total(self) -> int:
        return sum(branch.total for branch in self.branches)

    @property
    def total_amount(self) -> int:
        return sum(branch.total_amount for branch in self.branches)

    def text(self, amount: int) -> str:
        """Return an amount with its currency."""
        return "" if self.prices is None else self.prices.text(amount)


def recipe_of(settings: Settings, name: str | None) -> Recipe | None:
    """Return the recipe of this name; None without a name. Raises as `get_recipe`."""
    return get_recipe(settings, name) if name else None


def get_recipe(settings: Settings, name: str) -> Recipe:
    """Return a recipe. Raises RequestInvalid for an unknown name, and ConfigurationError for an invalid file."""
    folder = _folder(settings)
    # Match existing names only: a name from outside may contain slashes.
    known = [path.stem for path in _paths(folder)]
    if name not in known:
        close = get_close_matches(name, known, 1)
        there = f"there are {', '.join(known)}" if known else "the folder that DARKROOM_RECIPES names is empty"
        hint = f"did you mean {close[0]!r}?" if close else there
        # Do not say where: HTTP callers must learn nothing about this machine.
        raise RequestInvalid(f"there is no recipe {shown(name)!r}; {hint}")
    return _loaded(folder / f"{name}{SUFFIX}", (folder / f"{name}{SUFFIX}").stat().st_mtime_ns)


def list_recipes(settings: Settings) -> list[RecipeFile]:
    """Return all recipes in the folder. Raises ConfigurationError if there is no folder."""
    return [read_recipe(path) for path in _paths(_folder(settings))]


def read_recipe(path: Path) -> RecipeFile:
    """Read one file, which need not be in the folder."""
    try:
        return RecipeFile(path=path, recipe=load_recipe(path), mistake=None)
    except ConfigurationError as error:
        return RecipeFile(path=path, recipe=None, mistake=str(error))


def require_steps(provider: Provider, recipe: Recipe, request: GenerationRequest, prices: Prices | None) -> None:
    """Raise RequestInvalid for a step that this provider can never carry out, or whose cost cannot be known."""
    facts = _facts(provider.name, request.operation, request.options)
    for step in _possible(recipe.steps, facts):
        if prices is None and (limited := next(_with_max_cost([step]), None)) is not None:
            # Refuse before anything is paid for: later it would only be an event, after a person has picked images.
            raise RequestInvalid(
                f"recipe {recipe.name}, step {limited.id}: max_cost needs prices: name a price file in "
                "DARKROOM_PRICES, or leave max_cost out of the recipe"
            )
        if (why := _refusal(provider, step)) is not None:
            raise RequestInvalid(f"recipe {recipe.name}, step {step.id}: {why}")


def draw_recipe(settings: Settings, name: str, provider: str, operation: Operation) -> Drawing:
    """Return what a recipe makes from one generation in the worst case. Raises ConfigurationError."""
    require_provider(provider)
    recipe, prices = get_recipe(settings, name), settings.read_prices(PROVIDERS)
    request = GenerationRequest(operation=operation, prompt="")
    branches = _WorstCase(provider_class(provider), recipe, prices).of(request)
    return Drawing(recipe=recipe, provider=provider, operation=operation, prices=prices, branches=branches)


def worst_cost(provider: str, recipe: Recipe, prices: Prices, request: GenerationRequest) -> int:
    """Return the maximum cost of what follows one generation, in millionths."""
    branches = _WorstCase(provider_class(provider), recipe, prices).of(request)
    return sum(branch.total_amount for branch in branches)


def _folder(settings: Settings) -> Path:
    if settings.darkroom_recipes is None:
        raise RequestInvalid("DARKROOM_RECIPES is not set: name the folder of your recipes, NAME.yaml each")
    if not settings.darkroom_recipes.is_dir():
        raise ConfigurationError(f"DARKROOM_RECIPES: {settings.darkroom_recipes} is not a folder")
    return settings.darkroom_recipes


def _paths(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == SUFFIX and path.is_file())
    except OSError as error:
        raise ConfigurationError(f"DARKROOM_RECIPES: cannot read {folder}: {error.strerror}") from error


@cache
def _loaded(path: Path, _changed: int) -> Recipe:
    """Load and cache a recipe: a file of 50,000 rows names the same one in each."""
    return load_recipe(path)


def _facts(provider: str, operation: Operation, options: Mapping[str, object]) -> Facts:
    return Facts(
        operation=operation, action=None, provider=provider, options=options, labels={}, images=_images_of(operation)
    )


def _images_of(operation: Operation) -> int:
    if operation in _NO_IMAGES or operation in _TEXTS:
        return 0
    return 1 if operation in _SINGLE else _GRID


def _possible(steps: Sequence[Step], facts: Facts) -> list[Step]:
    """Return the steps that may apply to this operation and provider; labels, options and images are uncertain."""
    return [
        step
        for step in steps
        if (not step.when.operations or facts.operation in step.when.operations)
        and (not step.when.providers or facts.provider in step.when.providers)
    ]


def _with_max_cost(steps: Sequence[Step]) -> Iterator[Step]:
    for step in steps:
        if step.max_cost is not None:
            yield step
        yield from _with_max_cost(step.then)


def _refusal(provider: "Provider | type[Provider]", step: Step) -> str | None:
    operation = step.operation
    if operation is Operation.SPLIT:
        return None if provider.delivers_grids else f"{provider.title} delivers the images one by one, not as a grid"
    if operation is None or operation not in provider.capabilities:
        return f"{provider.title} does not support {operation}"
    capability = provider.capabilities[operation]
    if capability.actions and step.is_action and step.do not in capability.actions:
        return f"{provider.title} has no action {step.do}"
    if missing := sorted(capability.needs - {"images"} - step.options.keys()):
        return f"{operation} at {provider.title} needs the option {' and '.join(missing)}"
    if unknown := sorted(step.options.keys() - capability.options.keys()):
        return f"{operation} at {provider.title} has no option {unknown[0]}"
    return None


class _WorstCase:
    """Counts the most that steps can make."""

    def __init__(self, provider: "type[Provider]", recipe: Recipe, prices: Prices | None) -> None:
        self._provider, self._recipe, self._prices = provider, recipe, prices

    def of(self, request: GenerationRequest) -> tuple[Branch, ...]:
        """Return what follows one generation of this request."""
        return self._after(self._recipe.steps, request, 1)

    def _after(self, steps: Sequence[Step], parent: GenerationRequest, parents: int) -> tuple[Branch, ...]:
        facts = _facts(self._provider.name, parent.operation, {})
        room, branches = self._recipe.max_fan_out, []
        for step in _possible(steps, facts):
            why, each, cost, made = _refusal(self._provider, step), 0, 0, step.operation
            child = parent
            if why is None and made is not None:
                child = _child_of(parent, step, made)
                cost = self._price(child)
                each = min(room, _most(self._provider, step, made, facts))
                if step.max_cost is not None and cost:
                    each = min(each, millionths(step.max_cost) // cost)
            room -= each
            number = parents * each
            branches.append(
                Branch(
                    step=step,
                    number=number,
                    amount=number * cost if self._prices else None,
                    why=why,
                    then=self._after(step.then, child, number) if number else (),
                )
            )
        return tuple(branches)

    def _price(self, request: GenerationRequest) -> int:
        if self._prices is None or request.operation is Operation.SPLIT:
            return 0
        return self._prices.price(self._provider.name, request.operation, tier_of(request))


def _child_of(parent: GenerationRequest, step: Step, operation: Operation) -> GenerationRequest:
    """Return what its price depends on, including parameters in a prompt that it may inherit."""
    kept = parent.options if step.after is After.FAILED and operation is parent.operation else {}
    prompt = parent.prompt if step.prompt is None else step.prompt
    return GenerationRequest(operation=operation, prompt=prompt, options={**kept, **step.options})


def _most(provider: "Provider | type[Provider]", step: Step, operation: Operation, facts: Facts) -> int:
    """Return the maximum number of generations that the step makes from one."""
    if operation is Operation.SPLIT or step.after is After.FAILED:
        return 1
    capability = provider.capabilities[operation]
    if capability.actions:
        available = 1 if step.is_action else _offered(capability.actions, facts.images)
    else:
        available = max(1, facts.images) if "images" in capability.options else 1
    picks = [step.pick, *([step.otherwise] if step.otherwise else [])]
    return max(_number(pick, available) for pick in picks)


def _offered(actions: Collection[str], images: int) -> int:
    """Return how many of these actions one result offers at most: one for each image of several, or any of one."""
    of_one = [action for action in actions if not action[-1:].isdecimal()]
    return len(of_one) if images == 1 and of_one else min(_GRID, len(actions))


def _number(pick: Pick, available: int) -> int:
    match pick.chooser:
        case Chooser.NUMBERS:
            return min(available, len(pick.numbers))
        case Chooser.RANDOM:
            return min(available, pick.count)
        case _:
            return available

"""The façade for generations."""

from worker.ledger.generations.batch_facts import BatchReports
from worker.ledger.generations.boards import Boards
from worker.ledger.generations.control import Control
from worker.ledger.generations.create import Creation
from worker.ledger.generations.deletion import Deletion
from worker.ledger.generations.file_batches import FileBatches
from worker.ledger.generations.finding import Finding
from worker.ledger.generations.follow_ups import FollowUps
from worker.ledger.generations.gallery import Gallery
from worker.ledger.generations.queries import Queries
from worker.ledger.generations.recipes import Recipes
from worker.ledger.generations.results import Results
from worker.ledger.generations.snapshots import Snapshots
from worker.ledger.generations.task_import import TaskImport
from worker.ledger.outcome import Outcomes


class Generations(
    Creation,
    FileBatches,
    Outcomes,
    Control,
    FollowUps,
    TaskImport,
    Deletion,
    Finding,
    BatchReports,
    Boards,
    Queries,
    Results,
    Recipes,
    Snapshots,
    Gallery,
):
    """Creation, control, follow-ups, import, deletion, queries, snapshots, images and results of generations."""

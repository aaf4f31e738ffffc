"""What all commands share: common options, exit codes, output, and how an error ends the process.

Nothing heavy is imported here, so that `elo --help` stays quick. It must not know any command.
"""

from __future__ import annotations

import inspect
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn, TypeVar

import typer

from ..core.errors import AccessDenied, PipelineError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from ..settings import Settings

EXIT_FAILURE: Final = 1
EXIT_USAGE: Final = 2
EXIT_FATAL: Final = 3  # a worker must not go on, or Kafka refuses a login or an operation
EXIT_INTERRUPTED: Final = 130
EXIT_PIPE: Final = 141  # whoever read our output has gone, as in `elo tail membership | head -1`
PIPED_COLUMNS: Final = 10_000  # a file or pipe has no width; no line of ours is longer

Bootstrap = Annotated[
    str | None,
    typer.Option(
        "--bootstrap", metavar="HOST:PORT", help="Kafka brokers [ELO_BOOTSTRAP, default localhost:9092]"
    ),
]
TopicPrefix = Annotated[
    str | None,
    typer.Option(
        "--topic-prefix", metavar="PREFIX", help="put in front of every topic and group [ELO_TOPIC_PREFIX]"
    ),
]
Config = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="settings in YAML [ELO_CONFIG]")
]
Json = Annotated[bool, typer.Option("--json", help="print JSON instead of text")]
Function = TypeVar("Function", bound=Callable[..., Any])


class CommandFailed(PipelineError):
    """A command could not do what it was asked. The message is one sentence that says what to do."""


@dataclass(frozen=True, slots=True)
class Common:
    """The common options as given; None means "not given". They may stand before or after the command."""

    bootstrap: str | None = None
    topic_prefix: str | None = None
    config: Path | None = None

    def over(self, outer: object) -> Common:
        """These options where given, those that stood before the command otherwise."""
        if not isinstance(outer, Common):
            return self
        return Common(
            self.bootstrap or outer.bootstrap,
            outer.topic_prefix if self.topic_prefix is None else self.topic_prefix,
            self.config or outer.config,
        )

    def settings(self, **overrides: object) -> Settings:
        """Settings of this run; `overrides` are further options, None when not given. Raises ConfigError."""
        from ..settings import load_settings

        common = {"bootstrap": self.bootstrap, "topic_prefix": self.topic_prefix}
        return load_settings({**common, **overrides}, self.config)


def common_options(
    bootstrap: Bootstrap = None, topic_prefix: TopicPrefix = None, config: Config = None
) -> Common:
    """Only its signature matters: `command` puts these parameters behind those of every command."""
    return Common(bootstrap, topic_prefix, config)


def command(app: typer.Typer, name: str | None = None, **settings: Any) -> Callable[[Function], Function]:
    """Register a function as a command of `app` that also takes the common options.

    Its first parameter is a `Common`; the others are options and arguments as typer knows them.
    """

    def register(function: Function) -> Function:
        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
        shared = list(inspect.signature(common_options, eval_str=True).parameters.values())
        context = inspect.Parameter(
            "context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
        )

        def run(context: typer.Context, **arguments: Any) -> None:
            common = common_options(**{shown.name: arguments.pop(shown.name) for shown in shared})
            try:
                function(common.over(context.obj), **arguments)
                sys.stdout.flush()
            except BrokenPipeError:
                # Python would complain once more when it flushes at exit.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                raise typer.Exit(EXIT_PIPE) from None

        parameters = [entry.replace(kind=inspect.Parameter.KEYWORD_ONLY) for entry in (*own, *shared)]
        run.__signature__ = inspect.Signature([context, *parameters])  # type: ignore[attr-defined]
        run.__annotations__ = {entry.name: entry.annotation for entry in (context, *parameters)}
        run.__name__, run.__doc__, run.__module__ = function.__name__, function.__doc__, function.__module__
        app.command(name, **settings)(run)
        return function

    return register


def group(help_text: str) -> typer.Typer:
    """A group of commands, such as `elo topics`; without a command it prints its help."""
    return typer.Typer(help=help_text, no_args_is_help=True, pretty_exceptions_enable=False)


def run_app(app: typer.Typer, arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code. Whatever goes wrong becomes one sentence on stderr."""
    usage_error = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "UsageError")
    shown = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")
    try:
        code = typer.main.get_command(app)(
            args=None if arguments is None else list(arguments), prog_name="elo", standalone_mode=False
        )
        return code if isinstance(code, int) else 0
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except typer.Abort:
        return EXIT_FAILURE
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else EXIT_FAILURE
    except Exception as error:  # noqa: BLE001  the edge of the program: nobody is left to handle it
        if isinstance(error, usage_error):
            return _explain_usage(error)
        if os.environ.get("ELO_DEBUG"):
            traceback.print_exc()
        if isinstance(error, shown):
            say_error(str(getattr(error, "message", error)))
            return EXIT_FAILURE
        denied = _denial_of(error)
        say_error(sentence_of(denied or error))
        return EXIT_FATAL if denied else EXIT_FAILURE


def _denial_of(error: BaseException) -> AccessDenied | None:
    """The error as a refusal of Kafka to let us in, or let us do it; None if it is none."""
    if isinstance(error, AccessDenied):
        return error
    kafka = sys.modules.get("confluent_kafka")
    if kafka is None or not isinstance(error, kafka.KafkaException) or not error.args:
        return None
    from ..runtime.connect import denial_of
    from ..settings import load_settings

    return denial_of(load_settings(), error.args[0])


def _explain_usage(error: Any) -> int:
    context = error.ctx
    if type(error).__name__ == "NoArgsIsHelpError":
        return EXIT_USAGE  # typer has printed the help already
    hint = f", see `{context.command_path} --help`" if context else ""
    said = " ".join(error.format_message().split())
    say_error(f"{said.rstrip('.?').replace('. ', ', ')}{hint}")
    return EXIT_USAGE


def sentence_of(error: BaseException) -> str:
    """One sentence for an error of ours, of Kafka, of the system, or for one that nobody expected."""
    if isinstance(error, PipelineError):
        return str(error)
    kafka = sys.modules.get("confluent_kafka")
    if kafka is not None and isinstance(error, kafka.KafkaException) and error.args:
        reason = error.args[0].str() if hasattr(error.args[0], "str") else str(error.args[0])
        return f"Kafka refused: {reason}"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return f"internal error, {type(error).__name__}: {error} (ELO_DEBUG=1 shows where)"


def say_error(message: str) -> None:
    """Write one sentence to standard error."""
    sys.stdout.flush()
    typer.echo(typer.style("elo: ", fg="red", bold=True) + message, err=True)


def fail(message: str) -> NoReturn:
    """End the command with one sentence and exit code 1."""
    raise CommandFailed(message)


def say(message: str) -> None:
    """Write one line of text to standard output."""
    typer.echo(message)


def say_json(document: object) -> None:
    """Write one JSON document on a line of its own to standard output."""
    import orjson

    typer.echo(orjson.dumps(document, default=str))


def printable(text: str) -> str:
    """What others have written, for a terminal: nothing in it moves the cursor or changes colours."""
    return text if text.isprintable() else "".join(one if one.isprintable() else "\ufffd" for one in text)


def escaped(text: str) -> str:
    """The same, for a line with markup: its brackets are none."""
    from rich.markup import escape

    return escape(printable(text))


def cells(*texts: str) -> list[Text]:
    """The same, for a row of a table."""
    from rich.text import Text

    return [Text(printable(text)) for text in texts]


def console(*, stderr: bool = False) -> Console:
    """A rich console: colours on a terminal only, and lines that are not wrapped or cut elsewhere.

    Texts of others go through `escaped` or `cells`; `:names:` in them stay what they are.
    """
    from rich.console import Console

    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    width = None if terminal else PIPED_COLUMNS
    return Console(stderr=stderr, highlight=False, emoji=False, soft_wrap=not terminal, width=width)

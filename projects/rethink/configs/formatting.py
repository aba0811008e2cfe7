"""A config's text is laid out once: MMEngine has yapf do it for the log, each dump and each checkpoint, 0.5 s each."""

import functools

TEXTS = 8  # of the last ones: the config as it was read, and as a run, a switch or a test changes it


def install() -> None:
    """Keep what yapf made of the last texts, where the style is given and not looked for in files."""
    from yapf.yapflib import yapf_api

    yapf_api.FormatCode = _remembering(yapf_api.FormatCode)


def _remembering(stock):
    @functools.lru_cache(maxsize=TEXTS)
    def known(text: str, style: tuple, more: tuple):
        return stock(text, style_config=dict(style), **dict(more))

    @functools.wraps(stock)
    def format_code(unformatted_source, *arguments, **options):
        style = options.get('style_config')
        if arguments or not isinstance(style, dict) or options.keys() - {'style_config', 'verify'}:
            return stock(unformatted_source, *arguments, **options)
        more = tuple((key, value) for key, value in options.items() if key != 'style_config')
        return known(unformatted_source, tuple(style.items()), more)

    return format_code

"""Rule of PASCAL VOC's layout: the images that a set lists have their files, and objects of its classes."""

import os
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from ..config_tree import is_remote
from ..errors import some_names
from .datasets import Dataset
from .facts import Facts
from .files import how_to_get
from .findings import Finding, rule


@rule('voc', ends=True)
def voc(facts: Facts) -> Iterator[Finding]:
    from mmdet.datasets import XMLDataset

    for one in facts.used:
        if one.is_a(XMLDataset) and one.local and one.file:
            for level, what, fix in filter(None, [_look(one)]):
                yield Finding(level, one.path, what, fix=fix)


def _look(one: Dataset) -> tuple[str, str, str] | None:
    """Level, what is wrong, and the fix.

    Folders are listed and not searched for each file. Of the annotations, files are read up to the first object of a
    class, which is usually in the first: MMDetection drops objects of other classes and says nothing.
    """
    image_set = one.annotations
    year = one.join((one.cfg.get('data_prefix') or {}).get('sub_data_root', ''))
    if is_remote(year):
        return None
    images = Path(image_set).read_text().splitlines()
    if not images:
        return 'error', f'{image_set} of {one.path} lists no image.', how_to_get(image_set)
    for key, default, suffix in (('img_subdir', 'JPEGImages', '.jpg'), ('ann_subdir', 'Annotations', '.xml')):
        folder = os.path.join(year, one.cfg.get(key, default))
        if not os.path.isdir(folder):
            return 'missing', f'the folder {folder} of {one.path} does not exist.', how_to_get(folder)
        missing = {image + suffix for image in images} - set(os.listdir(folder))
        if missing:
            what = (
                f'{folder} lacks {len(missing)} of the {len(images)} files that {image_set} of {one.path} lists '
                f'({some_names(missing)}).'
            )
            return 'missing', what, how_to_get(folder)
    there, classes = set(), one.classes
    for image in images:
        path = os.path.join(folder, f'{image}.xml')
        try:
            there |= {entry.findtext('name') for entry in ElementTree.parse(path).findall('object')}
        except ElementTree.ParseError:
            return 'error', f'{path} of {one.path} is not XML.', 'it may be half-written: write it again'
        if classes is None or there & set(classes):
            return None
    what = f'no object in {folder} that {image_set} of {one.path} lists is of a class of the data set.'
    return 'error', what, f'set metainfo.classes to the names in the files ({some_names(there) or "there is none"})'

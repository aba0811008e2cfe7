"""What is in detection data sets and what is wrong with them, before a config names them (docs/data.md).

    python tools/misc/check_data.py data/coco/annotations/instances_*2017.json --format html --out coco.html
    python tools/misc/check_data.py data/VOCdevkit/VOC2007 --check-images

takes COCO, LVIS and keypoint JSON files, PASCAL VOC's layout, folders of them, and what annotation tools export;
several are splits of one data set. Exits with 1 where it finds an error, or files that are not there.
"""

import argparse
import sys

from rethink import arguments
from rethink.files import write_atomically


def parse_args() -> argparse.Namespace:
    parser = arguments.Parser(__doc__)
    parser.add_argument('data', nargs='+', metavar='DATA', help='annotation files, image sets, or folders')
    parser.add_argument('--images', metavar='DIR', help='folder of the images, where it is not one of the usual')
    parser.add_argument('--check-images', action='store_true', help='decode every image')
    arguments.add(parser, '--format', choices=['table', 'json', 'html'])
    arguments.add(parser, '--out', note=', in place of printing')
    arguments.add(parser, '--workers')
    return parser.parse_args()


def main() -> None:
    args = parse_args()

    from rethink.checks import data_files, data_report
    from rethink.engine import launch

    with launch.one_sentence():
        splits = [split for data in args.data for split in data_files.find(data, args.images)]
        found = data_report.look(splits, args.check_images, args.workers)
        forms = dict(table=data_report.as_table, json=data_report.as_json, html=data_report.as_html)
        content = forms[args.format](found)
        if args.out:
            write_atomically(args.out, content.encode())
            arguments.written(args.out)
        else:
            print(content)
    sys.exit(found.bad)


if __name__ == '__main__':
    arguments.run(main)

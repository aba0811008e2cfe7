"""The looks of arms: told apart in grey print and without red or green cones, and the same in every picture."""

import itertools

import cv2
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib import colors
from rethink.analysis import pictures
from rethink.analysis.pictures import ARMS, LOOKS

# Machado, Oliveira and Fernandes 2009, A Physiologically-based Model for Simulation of Color Vision Deficiency,
# severity 1.0, of linear RGB: https://www.inf.ufrgs.br/~oliveira/pubs_files/CVD_Simulation/CVD_Simulation.html
SIGHTS = dict(
    full=np.eye(3),
    protanopia=np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    deuteranopia=np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
)


def linear(colour: str) -> np.ndarray:
    """sRGB as light, IEC 61966-2-1."""
    rgb = np.array(colors.to_rgb(colour))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def seen(colour: str, sight: str) -> np.ndarray:
    """A colour in CIE L*a*b*, as OpenCV converts it, to a reader of this sight."""
    light = np.clip(SIGHTS[sight] @ linear(colour), 0, 1)
    rgb = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return cv2.cvtColor(rgb.reshape(1, 1, 3).astype(np.float32), cv2.COLOR_RGB2Lab)[0, 0].astype(float)


def luminance(colour: str) -> float:
    """Relative luminance, as WCAG 2.2 defines it."""
    return float(linear(colour) @ [0.2126, 0.7152, 0.0722])


def test_what_sight_without_cones_does_is_what_it_is_known_to_do():
    """Greys stay, and red and green of one lightness, far apart, come near each other."""
    for sight in SIGHTS:
        np.testing.assert_allclose(seen('#808080', sight), [53.6, 0, 0], atol=0.5)
    apart = {sight: np.linalg.norm(seen('#c00000', sight) - seen('#4f6f00', sight)) for sight in SIGHTS}
    assert apart['full'] > 80 > 25 > apart['deuteranopia']


@pytest.mark.parametrize('pair', list(itertools.combinations(range(len(LOOKS)), 2)), ids=str)
def test_two_looks_are_told_apart_by_colour_alone(pair):
    one, other = (LOOKS[at].colour for at in pair)
    grey = abs(seen(one, 'full')[0] - seen(other, 'full')[0])
    # The three that most pictures have, the four that arms of a study have, all.
    least = 12 if max(pair) < 3 else 8 if max(pair) < 4 else 3
    assert grey > least, grey
    for sight in SIGHTS:
        assert np.linalg.norm(seen(one, sight) - seen(other, sight)) > (30 if max(pair) < 4 else 15), sight


def test_looks_differ_in_marker_and_hatch_and_are_read_on_white_and_on_black():
    for part in ('colour', 'marker', 'live', 'hatch'):
        assert len({getattr(look, part) for look in LOOKS}) == len(LOOKS)
    for look in LOOKS:
        light = luminance(look.colour)
        assert 1.05 / (light + 0.05) > 2 and (light + 0.05) / 0.05 > 2


def test_scratch_and_fine_tuned_differ_in_luminance_by_more_than_2():
    """They were drawn in grey and purple, 1.06 apart."""

    def contrast(one: str, other: str) -> float:
        return (max(luminance(one), luminance(other)) + 0.05) / (min(luminance(one), luminance(other)) + 0.05)

    assert contrast('tab:grey', 'tab:purple') == pytest.approx(1.06, abs=0.05)
    for init in ('pretrain', 'finetune'):
        assert contrast(LOOKS[ARMS['scratch']].colour, LOOKS[ARMS[init]].colour) > 2


def test_an_arm_has_its_look_in_every_company():
    alone = {name: pictures.places([name])[name] for name in ARMS}
    assert alone == ARMS
    assert pictures.places(['freeze', 'mine', 'scratch', 'other']) == dict(freeze=2, mine=1, scratch=0, other=3)
    assert pictures.places(['B', 'T', 'B+T', 'B+T-BN', 'B+S', 'B+S+T']) == dict(
        zip(['B', 'T', 'B+T', 'B+T-BN', 'B+S', 'B+S+T'], (2, 0, 1, 5, 4, 3), strict=True)
    )
    # Names of configs, and two arms of one look in one picture.
    found = pictures.places(['pretrain_r50_gn_6x', 'finetune_r50', 'freeze_r101_adapter_fpn_72e', 'scratch_r50_gn_6x'])
    assert list(found.values()) == [1, 2, 3, 0]
    many = pictures.places(f'run {at}' for at in range(9))
    assert list(many.values()) == [0, 1, 2, 3, 4, 5, 0, 1, 2]


@pytest.mark.parametrize(
    ('name', 'files'),
    [('a.png', ['a.png']), ('a.svg', ['a.svg']), ('a.pdf', ['a.pdf']), ('a_3.5k', ['a_3.5k.png', 'a_3.5k.svg'])],
)
def test_a_picture_is_written_as_its_name_says_and_its_folder_is_made(name, files, tmp_path):
    figure = plt.figure(figsize=(1, 1))
    written = pictures.save(figure, tmp_path / 'new' / name)
    plt.close(figure)
    assert written == [tmp_path / 'new' / one for one in files] == sorted((tmp_path / 'new').iterdir())
    begins = dict(png=b'\x89PNG', svg=b'<?xml', pdf=b'%PDF')
    assert all(one.read_bytes().startswith(begins[one.suffix[1:]]) for one in written)

"""A line plot as SVG, by the standard library alone: for the model card."""

import math

WIDTH, HEIGHT, LEFT, BOTTOM, EDGE = 640, 280, 56, 40, 16


def ticks(low, high):
    """Three to eight round numbers from low to high."""
    power = 10.0 ** math.floor(math.log10(high - low))
    step = next(step for step in (power / 5, power / 2, power, power * 2) if (high - low) / step <= 8)
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def line(points, x_label, y_label, dots=False):
    """The SVG of a line through (x, y) points; `dots` marks each."""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    low, high = min(xs), max(xs)
    bottom, top = (0.0, max(ys) * 1.05) if min(ys) < max(ys) / 2 else (min(ys) - (max(ys) - min(ys)) * 0.2 - 0.001, max(ys) + (max(ys) - min(ys)) * 0.2 + 0.001)
    across = lambda x: LEFT + (x - low) / (high - low) * (WIDTH - LEFT - EDGE)
    up = lambda y: HEIGHT - BOTTOM - (y - bottom) / (top - bottom) * (HEIGHT - BOTTOM - EDGE)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="11">', f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>']
    for y in ticks(bottom, top):
        out.append(f'<path d="M{LEFT} {up(y):.1f}H{WIDTH - EDGE}" stroke="#ddd"/><text x="{LEFT - 6}" y="{up(y) + 4:.1f}" text-anchor="end">{y:g}</text>')
    for x in ticks(low, high):
        out.append(f'<path d="M{across(x):.1f} {HEIGHT - BOTTOM}v4" stroke="#888"/><text x="{across(x):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{x:g}</text>')
    out.append(f'<path d="M{" L".join(f"{across(x):.1f} {up(y):.1f}" for x, y in points)}" fill="none" stroke="#1f5fa8" stroke-width="1.5"/>')
    if dots:
        out += [f'<circle cx="{across(x):.1f}" cy="{up(y):.1f}" r="3" fill="#1f5fa8"/>' for x, y in points]
    out.append(f'<text x="{(WIDTH + LEFT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{x_label}</text>')
    out.append(f'<text transform="translate(12 {HEIGHT / 2}) rotate(-90)" text-anchor="middle">{y_label}</text></svg>')
    return "\n".join(out) + "\n"

"""Draws series of numbers: lines and bars, as SVG elements within a width and a height. `views.page` and `views.picture` say where, and in which colours."""
parents = [ref("traits")]
views = ref("views")
most_points = 240
left = 56
bottom = 20
top = 8


def drawn(self, values, labels, kind, width, height):
    points = self.thinned(values)
    low = min(points)
    high = max(points)
    if kind == "bar" or low > 0 and low < 0.4 * high:
        low = min(low, 0)
        high = max(high, 0)
    if low == high:
        low = low - 1
        high = high + 1
    scale = (height - self.top - self.bottom) / (high - low)
    base = height - self.bottom
    out = []
    for share in (0, 0.5, 1):
        level = low + (high - low) * share
        y = self.short(base - (level - low) * scale)
        out.append(f'<line class="grid" stroke="#c9c9c9" x1="{self.left}" y1="{y}" x2="{width}" y2="{y}"/>')
        out.append(f'<text class="tick" font-size="11" x="{self.left - 8}" y="{self.short(base - (level - low) * scale + 4)}" text-anchor="end">{self.views.escaped(self.tick(level, high - low))}</text>')
    if kind == "bar":
        out += self.bars(points, low, scale, base, width)
    else:
        out += self.line(points, low, scale, base, width)
    first, last = self.ends(values, labels)
    out.append(f'<text class="tick" font-size="11" x="{self.left}" y="{height - 4}">{self.views.escaped(first)}</text>')
    out.append(f'<text class="tick" font-size="11" x="{width}" y="{height - 4}" text-anchor="end">{self.views.escaped(last)}</text>')
    return "".join(out)


def thinned(self, values):
    count = len(values)
    if count <= self.most_points:
        return values
    points = []
    for at in range(self.most_points):
        piece = values[at * count // self.most_points:(at + 1) * count // self.most_points]
        points.append(sum(piece) / len(piece))
    return points


def line(self, points, low, scale, base, width):
    step = (width - self.left - 6) / (len(points) - 1)
    places = [self.short(self.left + at * step) + "," + self.short(base - (point - low) * scale) for at, point in enumerate(points)]
    floor = self.short(base - (min(max(low, 0), max(points)) - low) * scale)
    out = [
        f'<path class="area" fill="currentColor" opacity="0.12" d="M{self.left},{floor} L' + " ".join(places) + f' L{self.short(self.left + (len(points) - 1) * step)},{floor} Z"/>',
        '<polyline class="line" fill="none" stroke="currentColor" points="' + " ".join(places) + '"/>',
    ]
    x, y = places[-1].split(",")
    out.append(f'<circle class="dot" fill="currentColor" cx="{x}" cy="{y}" r="3.5"/>')
    return out


def bars(self, points, low, scale, base, width):
    step = (width - self.left) / len(points)
    wide = self.short(max(1, min(step * 0.72, 56)))
    zero = base + low * scale
    out = []
    for at, point in enumerate(points):
        x = self.short(self.left + at * step + (step - max(1, min(step * 0.72, 56))) / 2)
        y = self.short(zero - max(point, 0) * scale)
        out.append(f'<rect class="bar" fill="currentColor" x="{x}" y="{y}" width="{wide}" height="{self.short(max(abs(point) * scale, 0.5))}" rx="2"/>')
    return out


def ends(self, values, labels):
    if labels:
        return self.cut(labels[0]), self.cut(labels[-1])
    return "1", self.views.number(len(values))


def cut(self, text):
    return text if len(text) <= 24 else text[:23] + "…"


def legend(self, values):
    words = self.views.counted(len(values), "value") + " from " + self.views.number(min(values)) + " to " + self.views.number(max(values)) + ", the last " + self.views.number(values[-1])
    if len(values) > self.most_points:
        words = words + "; each point is the mean of about " + self.views.number(round(len(values) / self.most_points))
    return words


def tick(self, level, span):
    if level == 0:
        return "0"
    if abs(level) >= 1e7 or abs(level) < 1e-3:
        return f"{level:.2g}"
    if span >= 10:
        return f"{level:,.0f}"
    return f"{level:.3g}"


def short(self, value):
    return f"{value:.1f}"

"""How rows of tokens are put into batches."""

import torch

import tokens


def by_length(rows, length, most):
    """Groups of rows of like length: none, padded to its longest row, has more than `most` tokens."""
    groups, group = [], []
    for row in sorted(rows, key=length):
        if group and (len(group) + 1) * length(row) > most:
            groups.append(group)
            group = []
        group.append(row)
    return groups + [group] if group else groups


def padded(rows, filler=tokens.PAD):
    """Lists of numbers as one tensor (rows, longest)."""
    longest = max(len(row) for row in rows)
    return torch.tensor([row + [filler] * (longest - len(row)) for row in rows])

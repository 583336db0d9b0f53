"""Files that people write: read safely, and refused in one paragraph with file, line, key, cause and fix.

``components``, ``benchmarks`` and ``tools`` use it; it imports none of them.
"""

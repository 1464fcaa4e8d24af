"""Neural optimizer search: update rules in a small language, found by a recurrent controller.

`language` says what a rule is, `optimizer` runs one, `children` trains networks with it,
`controller` and `policy` write rules and learn from their rewards, `search` puts them together, and
`parameter_server` does so with several controllers at once.
"""

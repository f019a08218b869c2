#!/usr/bin/env python3
"""What `run` tries, and what it takes for a patch, without building anything."""

import importlib.machinery
import importlib.util
import os
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
loader = importlib.machinery.SourceFileLoader('run', os.path.join(os.path.dirname(os.path.abspath(__file__)), 'run'))
run = importlib.util.module_from_spec(importlib.util.spec_from_loader('run', loader))
loader.exec_module(run)

UNIT = ['hot_commit', 'tiering_upload']
FAULT = ['log_nth']
HEADER = 'Sabotage: one for two\nInvariant: I1\nExpect: tiering_upload sim\n\nWhy not.\n\n'
HUNK = '--- a/file\n+++ b/file\n@@ -1,2 +1,2 @@\n a\n-one\n+two\n'


class Sources:
    """As a Scratch, of one file."""

    def __init__(self, source, text):
        self.source = source
        self.tests = dict.fromkeys(UNIT + FAULT + list(run.INTEGRATION))
        self.write({'file': text})

    write, read = run.Scratch.write, run.Scratch.read

    def suite(self, name):
        return {'unit': UNIT, 'fault': FAULT}[name]


class Run(unittest.TestCase):
    def setUp(self):
        self.top = tempfile.TemporaryDirectory()
        self.addCleanup(self.top.cleanup)
        self.s = Sources(self.top.name, 'a\none\nb\n')

    def patch(self, text=HEADER + HUNK):
        path = os.path.join(self.top.name, 'some.patch')
        with open(path, 'w', encoding='utf-8') as f:
            f.write(text)
        return run.Patch(path)

    def text(self):
        return self.s.read(['file'])['file']

    def tried(self, hints):
        """(the tests, the seeds as (first, last)), in order."""
        stages = list(run.stages(self.patch(), self.s, hints))
        return ([n for f, *a in stages if f == run.tests_try for n in a[0]],
                [tuple(a) for f, *a in stages if f == run.sim_try], stages)

    def test_with_and_without_hints_the_same_is_tried_and_nothing_twice(self):
        for hints in (True, False):
            tests, seeds, _ = self.tried(hints)
            self.assertEqual(sorted(tests), sorted(UNIT + FAULT + list(run.INTEGRATION)))
            self.assertEqual(seeds[0][0], 1)
            self.assertEqual(seeds[-1][1], run.SEEDS_MORE[-1])
            for (_, last), (first, _) in zip(seeds, seeds[1:]):
                self.assertEqual(first, last + 1)

    def test_hints_come_first_and_only_when_asked_for(self):
        self.assertEqual(self.tried(True)[2][:2], [(run.tests_try, ['tiering_upload']), (run.sim_try, 1, run.SEEDS[0])])
        self.assertEqual(self.tried(False)[2][0], (run.sim_try, 1, run.SEEDS[0]))
        self.assertIn((run.tests_try, UNIT), self.tried(False)[2])

    def test_each_hint_is_tried_by_itself(self):
        wrong = []
        tries = [(list(stages), in_vain) for _, stages, in_vain in run.tries(self.s, [self.patch()], wrong, True, True)]
        self.assertEqual(tries, [([(run.tests_try, ['tiering_upload'])], 'NOT BY tiering_upload'),
                                 (list(run.sims(run.SEEDS)), 'NOT BY sim')])
        self.assertEqual(wrong, [])

    def test_a_hint_at_a_test_that_is_not_there_is_stale(self):
        patch = self.patch(HEADER.replace('tiering_upload', 'tiering_uplaod') + HUNK)
        with self.assertRaisesRegex(run.Stale, 'tiering_uplaod'):
            run.catch(self.s, patch, run.stages(patch, self.s, True))
        self.assertEqual(self.text(), 'a\none\nb\n')
        wrong = []
        self.assertEqual(list(run.tries(self.s, [patch], wrong, True, True)), [])
        self.assertEqual([name for name, _ in wrong], ['some'])

    def test_what_is_tried_sees_the_sabotage_and_the_next_does_not(self):
        seen = []

        def stage(s, result):
            seen.append(s.read(['file'])['file'])
            return result

        caught = run.Caught('it', 'why')
        self.assertIs(run.catch(self.s, self.patch(), [(stage, None), (stage, caught), (stage, None)]), caught)
        self.assertEqual(seen, ['a\ntwo\nb\n'] * 2)
        self.assertEqual(self.text(), 'a\none\nb\n')
        self.assertIsNone(run.catch(self.s, self.patch(), [(stage, None)]))

        def not_built(s):
            raise run.NotBuilt('error: no')

        with self.assertRaises(run.NotBuilt):
            run.catch(self.s, self.patch(), [(not_built,)])
        self.assertEqual(self.text(), 'a\none\nb\n')

    def test_a_hunk_that_fits_nowhere_or_twice_is_stale(self):
        for text, why in (('a\nthree\nb\n', 'no more'), ('a\none\na\none\n', 'more than once')):
            self.s.write({'file': text})
            with self.assertRaisesRegex(run.Stale, why):
                self.patch().applied(self.top.name)

    def test_a_patch_without_its_lines_in_front_or_without_a_change_is_stale(self):
        for text in (HUNK, HEADER.replace('Invariant: I1\n', '') + HUNK, HEADER, HEADER.replace('Expect', 'Expcet') + HUNK):
            with self.assertRaises(run.Stale):
                self.patch(text)


if __name__ == '__main__':
    unittest.main()

"""The parts of ``ci/demo``: what is told, the commands that are run, and the things that they are run on."""

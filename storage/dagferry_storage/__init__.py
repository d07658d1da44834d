"""Object stores behind one small protocol, and what both sides do with what they read from one.

``store`` is the protocol, ``local`` the local directory, ``probe`` asks a store whether it keeps its promises;
``fetch`` reads verified content and ``unpack`` writes it to a fresh folder, for builder and agent alike.
"""

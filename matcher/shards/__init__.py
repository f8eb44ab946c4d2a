"""Where the galleries live: in this process's threads (``local``), later on other machines, behind one protocol."""

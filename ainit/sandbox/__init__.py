"""What an agent is locked into, as system calls between clone and exec. Standard library only."""

"""The peers: the same networks and steps, as their own users write them."""
